/** The usual way in Node: Express and http-proxy-middleware, here with the product's cookies and synchronous node:crypto. */
import { Agent, createServer, type IncomingHttpHeaders } from 'node:http'
import { serverOptions } from '@token-handler/oauth-proxy'
import {
  buildKeyRing,
  cookieNames,
  createCookieSealer,
  readSessionCookie,
  systemClock,
  type AccessCookieClaims,
} from '@token-handler/shared'
import express, { type Request, type Response } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { cookieSettings, keyContext } from '../site.ts'
import { contend } from './node-contender.ts'

const hopByHop =
  'connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer upgrade expect'
const fromClient = 'cookie forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-real-ip via'

contend(({ upstreamPort, keyFile }) => {
  const ring = buildKeyRing(keyFile, keyContext)
  const sealer = createCookieSealer(() => ring, systemClock)
  const names = cookieNames(cookieSettings)
  const app = express().disable('x-powered-by')

  app.use((req, res, next) => {
    const cookie = readSessionCookie<AccessCookieClaims>(req.headers.cookie, 'access-token', names.accessToken, {
      names,
      sealer,
    })
    if (!cookie.ok) {
      res.status(401).json({ code: 'unauthorized' })
      return
    }
    remove(req.headers, `${hopByHop} ${fromClient}`)
    req.headers.authorization = `Bearer ${cookie.claims.at}`
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
          remove(answer.headers, `${hopByHop} set-cookie`)
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

function remove(headers: IncomingHttpHeaders, names: string): void {
  for (const name of (headers.connection ?? '').split(',')) delete headers[name.trim().toLowerCase()]
  for (const name of names.split(' ')) delete headers[name]
}
