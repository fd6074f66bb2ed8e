import {
  createOAuthProxy,
  type ForwardAuthOptions,
  type OAuthProxy,
  type RouteOptions,
} from '@token-handler/oauth-proxy'
import { buildKeyRing, createCookieSealer, createLogger, createMemoryLedger, systemClock } from '@token-handler/shared'
import { cookieSettings, filesPath, keyContext, publicOrigin, routePaths } from '../site.ts'
import type { ContenderSettings } from './node-contender.ts'

/** The product with a realistic route table. */
export function createRealisticProxy(
  { upstreamPort, routes, keyFile }: ContenderSettings,
  forwardAuth?: ForwardAuthOptions,
): OAuthProxy {
  const ring = buildKeyRing(keyFile, keyContext)
  const clock = systemClock
  return createOAuthProxy({
    options: {
      publicOrigin,
      trustedOrigins: new Set([publicOrigin]),
      cookies: cookieSettings,
      trustedProxies: ['10.0.0.0/8'],
      routes: realisticRoutes(upstreamPort, routes),
      forwardAuth,
    },
    sealer: createCookieSealer(() => ring, clock),
    rules: createMemoryLedger(clock).rules,
    clock,
    logger: createLogger('warn'),
  })
}

export function realisticRoutes(upstreamPort: number, count: number): RouteOptions[] {
  return routePaths(count).map((path, index) => routeTo(upstreamPort, path, index))
}

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
    webSocket: path === filesPath,
    forwardCookies: [],
    connectTimeoutSeconds: 5,
    responseTimeoutSeconds: 60,
    idleTimeoutSeconds: 300,
  }
}
