/**
 * The usual way in Node: Express and http-proxy-middleware, here with the product's cookies and synchronous node:crypto. It
 * does the same job for the same ten routes: judges target, source, session and policy, and cleans the headers both ways.
 * What the product exports for that is used as it is; the rest is what one would write in Express.
 */
import { Agent, createServer, type IncomingHttpHeaders } from 'node:http'
import { serverOptions } from '@token-handler/oauth-proxy'
import {
  buildKeyRing,
  cookieNames,
  corsHeaders,
  createCookieSealer,
  createMemoryLedger,
  readSessionCookie,
  refuseSource,
  sessionIdentity,
  systemClock,
  type AccessCookieClaims,
} from '@token-handler/shared'
import express, { type NextFunction, type Request, type Response } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { cookieSettings, keyContext, publicOrigin } from '../site.ts'
import { contend } from './node-contender.ts'
import { realisticRoutes } from './realistic-proxy.ts'

const hopByHop =
  'connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer upgrade expect'
const fromClient =
  'cookie token-handler-version forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-real-ip via'
const fromApi =
  'set-cookie cache-control pragma expires access-control-allow-origin access-control-allow-credentials access-control-expose-headers clear-site-data refresh server x-powered-by'
const ambiguousTarget = /%2e|%2f|%5c|%00|\\|\/\/|\/\.{1,2}(?:[/?]|$)|#/i

const trustedOrigins = new Set([publicOrigin])
const guards = { trustedOrigins, ownOriginTrusted: true, navigable: false, embeddable: false }

contend(({ upstreamPort, routes, keyFile }) => {
  const ring = buildKeyRing(keyFile, keyContext)
  const sealer = createCookieSealer(() => ring, systemClock)
  const names = cookieNames(cookieSettings)
  const { rules } = createMemoryLedger(systemClock)
  const app = express().disable('x-powered-by')

  app.use((req, res, next) => {
    if (ambiguousTarget.test(req.url)) refuse(res, 400)
    else if (refuseSource(req, guards) === undefined) next()
    else refuse(res, 403)
  })
  app.use((req, res, next) => {
    const cookie = readSessionCookie<AccessCookieClaims>(req.headers.cookie, 'access-token', names.accessToken, {
      names,
      sealer,
    })
    if (!cookie.ok || rules.areStale() || rules.endOf(sessionIdentity(cookie.claims, cookie.kid)) !== undefined) {
      refuse(res, 401)
      return
    }
    res.locals['session'] = cookie.claims
    next()
  })
  for (const { path, methods, scopes, acrValues, maxAgeSeconds } of realisticRoutes(upstreamPort, routes)) {
    app.use(path, (req: Request, res: Response, next: NextFunction) => {
      const { scope = '', acr, auth_time: authTime } = res.locals['session'] as AccessCookieClaims
      const granted = scope.split(' ')
      const isStrong = acrValues.length === 0 || (acr !== undefined && acrValues.includes(acr))
      const age = systemClock.now() / 1000 - (authTime ?? 0)
      if (!methods.includes(req.method)) refuse(res, 405)
      else if (!scopes.every((each) => granted.includes(each))) refuse(res, 403)
      else if (!isStrong || (maxAgeSeconds !== undefined && age > maxAgeSeconds)) refuse(res, 401)
      else {
        res.locals['isRouted'] = true
        next()
      }
    })
  }
  app.use((req, res, next) => {
    if (res.locals['isRouted'] !== true) {
      refuse(res, 404)
      return
    }
    remove(req.headers, `${hopByHop} ${fromClient}`)
    req.headers.authorization = `Bearer ${(res.locals['session'] as AccessCookieClaims).at}`
    const cors = Object.entries(corsHeaders(req.headers.origin, trustedOrigins))
    for (const [name, value] of cors) res.setHeader(name, value)
    res.setHeader('cache-control', 'no-store')
    res.setHeader('content-security-policy', 'sandbox')
    res.setHeader('x-content-type-options', 'nosniff')
    next()
  })
  app.use(
    createProxyMiddleware<Request, Response>({
      target: `http://127.0.0.1:${upstreamPort}`,
      changeOrigin: true,
      xfwd: true,
      agent: new Agent({ keepAlive: true }),
      on: {
        proxyRes(answer) {
          remove(answer.headers, `${hopByHop} ${fromApi}`)
        },
        error(_error, _req, res) {
          if ('writeHead' in res && !res.headersSent) res.writeHead(502).end()
          else res.destroy()
        },
      },
    }),
  )
  return createServer(serverOptions, app)
})

function refuse(res: Response, status: number): void {
  res.status(status).json({ code: status })
}

function remove(headers: IncomingHttpHeaders, names: string): void {
  for (const name of (headers.connection ?? '').split(',')) delete headers[name.trim().toLowerCase()]
  for (const name of names.split(' ')) delete headers[name]
}
