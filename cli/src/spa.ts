import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RequestListener, ServerResponse } from 'node:http'
import { join, relative } from 'node:path'
import express, { type Request, type Response } from 'express'
import {
  describeError,
  errorCatalogue,
  strictTransportSeconds,
  type ErrorCode,
  type Logger,
} from '@token-handler/shared'

export interface SpaOptions {
  /** Folder of the built SPA, with an index.html and a callback.html. */
  readonly root: string
  /** Path of the redirect URI, such as `/callback`: it gets callback.html, a document of its own. */
  readonly callbackPath: string
  /** The origin that the SPA is served under. */
  readonly origin: string
  /** Other origins that the SPA may call: agent and proxy, where they are not on its own. */
  readonly connectOrigins: readonly string[]
  /** What else the app may talk to, the callback page not: storages, servers of WebSockets. Default: nothing. */
  readonly otherOrigins?: readonly string[] | undefined
  /**
   * Base URL of the OAuth Agent where it is not on the SPA's own origin. The pages carry it as `data-agent-url` of their
   * root element, so that one build serves every environment.
   */
  readonly agentUrl?: string | undefined
  /** A client that takes nothing of a file for so many milliseconds is cut off. Default: 60,000. */
  readonly unreadMs?: number
  /** Gets one line for each request that is refused. */
  readonly logger: Logger
}

/**
 * Serves a built SPA. Nothing here depends on a cookie: the page is public, what it shows comes from the APIs.
 * @throws Error (ENOENT) when the folder has no index.html or no callback.html.
 */
export function createSpaHandler(options: SpaOptions): RequestListener {
  const { root, origin, callbackPath, connectOrigins, otherOrigins = [], agentUrl, unreadMs = 60_000, logger } = options
  const readPage = (name: string): string => withAgentUrl(readFileSync(join(root, name), 'utf8'), agentUrl)
  const index = readPage('index.html')
  const callback = readPage('callback.html')
  const connect = ["'self'", ...connectOrigins].join(' ')
  // A source with https does not match wss, and 'self' does not in every browser.
  const sockets = [origin, ...connectOrigins].map((each) => each.replace(/^http/, 'ws'))
  const appConnect = [connect, ...sockets, ...otherOrigins].join(' ')
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')

  // A document of its own: injected script of the app can open it in a popup or frame, but neither read its address nor
  // make it run anything else (docs/decisions/0003).
  app.get([callbackPath, '/callback.html'], (_req, res) => {
    // Its address holds a code: no cache may keep an entry under it.
    res.setHeader('Cache-Control', 'no-store')
    sendPage(res, callback, callbackPolicy(callback, origin, connect))
  })
  app.get('/index.html', (_req, res) => sendIndex(res))
  app.use(
    express.static(root, {
      index: false,
      redirect: false,
      dotfiles: 'ignore',
      setHeaders(res, path) {
        const isHashed = hashedFile.test(relative(root, path))
        res.setHeader('Cache-Control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache')
        if (path.endsWith('.html')) res.setHeader('Content-Security-Policy', appPolicy(appConnect))
      },
    }),
  )
  app.get(/^/, (req, res) => (asksForApp(req) ? sendIndex(res) : refuse(res)))
  app.use((_req, res) => refuse(res))

  return (req, res) => {
    // Else it would hold a connection and an open file for as long as it likes.
    res.setTimeout(unreadMs, () => res.destroy())
    protect(res)
    // Express itself would answer an error with a page that holds the stack.
    app(req as Request, res as Response, (error?: unknown) => refuse(res, error))
  }

  function refuse(res: ServerResponse, error?: unknown): void {
    const { status: given, headers = {} } = (error ?? { status: 404 }) as HttpError
    const code = codes.get(given) ?? 'server_error'
    const { status, message } = errorCatalogue[code]
    const fields = { event: 'request_refused', code, status, id: randomUUID() }
    if (status === 500) logger.error({ ...fields, error: describeError(error) }, 'A file cannot be served.')
    else logger.info(fields, 'A request was refused.')
    if (res.headersSent) {
      res.destroy()
      return
    }
    // Those of the file are not the error's.
    for (const name of res.getHeaderNames()) res.removeHeader(name)
    protect(res)
    res.statusCode = status
    res.setHeaders(new Map(Object.entries(headers)))
    res.setHeader('Content-Type', 'application/json')
    res.setHeader('Cache-Control', 'no-store')
    res.setHeader('X-Request-Id', fields.id)
    res.end(JSON.stringify({ code, message }))
  }

  function protect(res: ServerResponse): void {
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Referrer-Policy', 'no-referrer')
    // What is no page is no document either: an SVG or an error shown by itself runs nothing.
    res.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
    res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    if (origin.startsWith('https:')) res.setHeader('Strict-Transport-Security', `max-age=${strictTransportSeconds}`)
  }

  function sendIndex(res: Response): void {
    res.setHeader('Cache-Control', 'no-cache')
    sendPage(res, index, appPolicy(appConnect))
  }
}

/**
 * Whether a path that is no file is a deep link into the app. Browsers say when they want a page; old ones ask for HTML, and
 * calls and tools for a path without an extension. Scripts and images that are not there are not the app.
 */
function asksForApp({ path, headers }: Request): boolean {
  const { 'sec-fetch-dest': destination, accept = '' } = headers
  if (destination !== undefined && destination !== 'empty') return destination === 'document'
  return !path.includes('.') || (destination === undefined && accept.includes('text/html'))
}

/** An error as express.static gives it. */
interface HttpError {
  readonly status?: number
  /** Those that the status asks for. */
  readonly headers?: Readonly<Record<string, string>>
}

const codes: ReadonlyMap<number | undefined, ErrorCode> = new Map([
  [404, 'not_found'],
  [412, 'precondition_failed'],
  [416, 'range_not_satisfiable'],
])

/** What Vite and its like write, `assets/index-BxYz0123.js`; not `app-manifest.json`, which only looks like it. */
const hashedFile = /^assets\/.*-(?=[a-z_-]*[A-Z\d])[\w-]{8}\.(?!html$)[a-z\d]+$/

/** Writes the agent's base URL on the root element, in place of one that is there. */
export function withAgentUrl(html: string, agentUrl: string | undefined): string {
  if (agentUrl === undefined) return html
  const attribute = ` data-agent-url="${agentUrl.replaceAll('&', '&amp;').replaceAll('"', '&quot;')}"`
  return html.replace(/<html\b([^>]*)>/i, (_tag, rest: string) => {
    return `<html${rest.replace(/\s+data-agent-url="[^"]*"/, '')}${attribute}>`
  })
}

function sendPage(res: Response, html: string, policy: string): void {
  res.setHeader('Content-Security-Policy', policy)
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
  const sources = (paths: readonly string[]): string =>
    paths.length === 0 ? "'none'" : paths.map((path) => `${origin}${path}`).join(' ')
  const scripts = sources(callbackScripts(html))
  const styles = sources(pathsIn(html, /<link\b[^>]*\bhref="(\/[^"]+\.css)"/g))
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

/** Paths of the scripts that the callback page may run: those that it names itself, from the root of its origin. */
export function callbackScripts(html: string): string[] {
  return pathsIn(html, /<(?:script|link)\b[^>]*\b(?:src|href)="(\/[^"]+\.js)"/g)
}

function pathsIn(html: string, pattern: RegExp): string[] {
  return [...html.matchAll(pattern)].map(([, path = '']) => path)
}
