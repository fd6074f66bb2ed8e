/** The product, stand-alone: its own server options and hardening, the proxy on node:http, a realistic route table. */
import { createServer } from 'node:http'
import { createOAuthProxy, hardenServer, serverOptions, type RouteOptions } from '@token-handler/oauth-proxy'
import { buildKeyRing, createCookieSealer, createLogger, createMemoryLedger, systemClock } from '@token-handler/shared'
import { cookieSettings, keyContext, publicOrigin, routePaths } from '../site.ts'
import { contend } from './node-contender.ts'

contend(({ upstreamPort, routes, keyFile }) => {
  const ring = buildKeyRing(keyFile, keyContext)
  const clock = systemClock
  const proxy = createOAuthProxy({
    options: {
      publicOrigin,
      trustedOrigins: new Set([publicOrigin]),
      cookies: cookieSettings,
      trustedProxies: ['10.0.0.0/8'],
      routes: routePaths(routes).map((path, index) => routeTo(upstreamPort, path, index)),
    },
    sealer: createCookieSealer(() => ring, clock),
    rules: createMemoryLedger(clock).rules,
    clock,
    logger: createLogger('warn'),
  })
  const server = createServer(serverOptions, (req, res) => proxy.handle(req, res))
  hardenServer(server)
  return server
})

/** The configuration file's defaults; every third route asks for scopes, every fifth for a strong and fresh login. */
function routeTo(upstreamPort: number, path: string, index: number): RouteOptions {
  return {
    path,
    upstream: `http://127.0.0.1:${upstreamPort}`,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    session: 'required',
    scopes: index % 3 === 0 ? ['orders:read'] : [],
    claims: {},
    acrValues: index % 5 === 0 ? ['urn:example:loa:2'] : [],
    maxAgeSeconds: index % 5 === 0 ? 43_200 : undefined,
    navigable: false,
    embeddable: false,
    sandbox: true,
    forwardCookies: [],
    connectTimeoutSeconds: 5,
    responseTimeoutSeconds: 60,
    idleTimeoutSeconds: 300,
  }
}
