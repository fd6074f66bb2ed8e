import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import express, { type Express, type Response } from 'express'

export interface SpaOptions {
  /** Folder of the built SPA, with an index.html and a callback.html. */
  readonly root: string
  /** Path of the redirect URI, such as `/callback`: it gets callback.html, a document of its own. */
  readonly callbackPath: string
  /** The origin that the SPA is served under. */
  readonly origin: string
  /** Other origins that the SPA may call: agent and proxy, where they are not on its own. */
  readonly connectOrigins: readonly string[]
}

/**
 * Serves a built SPA. Nothing here depends on a cookie: the page is public, what it shows comes from the APIs.
 * @throws Error (ENOENT) when the folder has no index.html or no callback.html.
 */
export function createSpaHandler({ root, origin, callbackPath, connectOrigins }: SpaOptions): Express {
  const index = readFileSync(join(root, 'index.html'), 'utf8')
  const callback = readFileSync(join(root, 'callback.html'), 'utf8')
  const connect = ["'self'", ...connectOrigins].join(' ')
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')

  app.use((_req, res, next) => {
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Referrer-Policy', 'no-referrer')
    res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    next()
  })
  // A document of its own: injected script of the app can open it in a popup or frame, but neither read its address nor
  // make it run anything else (docs/decisions/0003).
  app.get(callbackPath, (_req, res) => sendPage(res, callback, callbackPolicy(callback, origin, connect)))
  app.use(
    express.static(root, {
      index: false,
      redirect: false,
      dotfiles: 'ignore',
      setHeaders(res, path) {
        const isHashed = /-[A-Za-z0-9_-]{8}\.[a-z0-9]+$/.test(path)
        res.setHeader('Cache-Control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache')
        if (path.endsWith('.html')) res.setHeader('Content-Security-Policy', appPolicy(connect))
      },
    }),
  )
  // Deep links: every path without a file extension is the app's.
  app.get(/^\/[^.]*$/, (_req, res) => sendPage(res, index, appPolicy(connect)))
  app.use((_req, res) => {
    res.statusCode = 404
    res.setHeader('Content-Type', 'application/json')
    res.setHeader('Cache-Control', 'no-store')
    res.end(JSON.stringify({ code: 'not_found', message: 'There is nothing here.' }))
  })
  return app
}

function sendPage(res: Response, html: string, policy: string): void {
  res.setHeader('Content-Security-Policy', policy)
  res.setHeader('Cache-Control', 'no-cache')
  res.setHeader('Content-Type', 'text/html; charset=utf-8')
  res.end(html)
}

function appPolicy(connect: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: https:",
    "font-src 'self'",
    `connect-src ${connect}`,
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** Script and style from the files that the page itself names, and from nowhere else. */
function callbackPolicy(html: string, origin: string, connect: string): string {
  const sources = (pattern: RegExp): string => {
    const urls = [...html.matchAll(pattern)].map((match) => `${origin}${match[1] ?? ''}`)
    return urls.length === 0 ? "'none'" : urls.join(' ')
  }
  const scripts = sources(/<(?:script|link)\b[^>]*\b(?:src|href)="(\/[^"]+\.js)"/g)
  const styles = sources(/<link\b[^>]*\bhref="(\/[^"]+\.css)"/g)
  return [
    "default-src 'none'",
    `script-src ${scripts}`,
    `style-src ${styles}`,
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
