import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { createAccessTokenVerifier, type AccessToken } from './access-token.ts'
import { ApiError } from './errors.ts'
import { createEventStream } from './event-stream.ts'
import { createFeed, type Feed } from './feed.ts'
import { createOrders } from './orders.ts'
import { createFeedSockets } from './web-socket.ts'

/** How the API is started. */
export interface ExampleApiOptions {
  /** Default `127.0.0.1`. */
  host?: string
  /** Default 0: a free one. */
  port?: number
  /** The authorization server's issuer; access tokens of no other are taken. */
  issuer: string
  /** Default: looked up in the issuer's metadata at the first request. */
  jwksUri?: string
  /** What `aud` must name. */
  audience: string
}

/** A request as it arrived, for tests to look at. */
export interface ReceivedRequest {
  method: string
  url: string
  headers: IncomingHttpHeaders
  /** Names and values in turn, as they came. */
  rawHeaders: readonly string[]
}

/** A running API. */
export interface ExampleApi {
  url: string
  /** The requests so far, oldest first, refused ones too. */
  received: ReceivedRequest[]
  /** Stops at once; open connections are cut. */
  close(): Promise<void>
}

type Answer = { status: number; body: object } | { stream: (res: ServerResponse) => void }
type Handler = (req: IncomingMessage, token: AccessToken) => Promise<Answer>

const MAX_RECEIVED = 10_000

/**
 * Starts the API behind the OAuth Proxy: it knows access tokens (RFC 9068, RFC 6750) and nothing of cookies.
 *
 * `GET /api/me`; with the scope `orders:read` `GET /api/orders`, `GET /api/events` (an event stream) and `/api/feed` (a
 * WebSocket); with `orders:write` `POST /api/orders` and `PUT /api/cancellations/<id>`. The orders are kept in memory, for
 * each subject.
 * @throws The listen error (`EADDRINUSE`, …) when the address is not free.
 */
export async function startExampleApi(options: ExampleApiOptions): Promise<ExampleApi> {
  const { host = '127.0.0.1', port = 0 } = options
  const received: ReceivedRequest[] = []
  const verify = createAccessTokenVerifier(options)
  const feed = createFeed()
  const routes = createRoutes(feed)
  const sockets = createFeedSockets(feed, verify)
  const record = (req: IncomingMessage): void => {
    received.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, rawHeaders: req.rawHeaders })
    if (received.length > MAX_RECEIVED) received.shift()
  }
  const server = createServer((req, res) => {
    record(req)
    answer(req, routes, verify).then(
      (answered) => ('stream' in answered ? answered.stream(res) : send(res, answered.status, answered.body)),
      (error: unknown) => sendError(res, error),
    )
  })
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    record(req)
    sockets.upgrade(req, socket, head)
  })
  await listen(server, host, port)
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    received,
    close() {
      sockets.close()
      return close(server)
    },
  }
}

function createRoutes(feed: Feed): Record<string, Record<string, Handler>> {
  const orders = createOrders(feed)
  return {
    '/api/me': { GET: async (_req, token) => ({ status: 200, body: describe(token) }) },
    '/api/orders': { GET: orders.list, POST: orders.create },
    '/api/cancellations': { PUT: orders.cancel },
    '/api/events': { GET: createEventStream(feed) },
  }
}

async function answer(
  req: IncomingMessage,
  routes: Record<string, Record<string, Handler>>,
  verify: (authorization: string | undefined) => Promise<AccessToken>,
): ReturnType<Handler> {
  const path = ((req.url ?? '').split('?')[0] ?? '').replace(/^(\/api\/cancellations)\/\d+$/, '$1')
  const methods = Object.hasOwn(routes, path) ? routes[path] : undefined
  // The token first: whoever has none learns nothing about the API.
  const token = await verify(req.headers.authorization)
  if (methods === undefined) throw new ApiError(404, 'not_found', 'There is nothing here.')
  const handler = methods[req.method ?? '']
  if (handler === undefined) {
    const allow = Object.keys(methods).join(', ')
    throw new ApiError(405, 'method_not_allowed', 'Not with this method.', { Allow: allow })
  }
  return handler(req, token)
}

/** What the API saw in the token, but not the token. */
function describe(token: AccessToken): object {
  return {
    sub: token.sub,
    client_id: token.clientId,
    scope: [...token.scopes].join(' '),
    aud: token.aud,
    iss: token.iss,
    expires_in: Math.max(0, token.exp - Math.floor(Date.now() / 1000)),
  }
}

function sendError(res: ServerResponse, error: unknown): void {
  if (error instanceof ApiError) {
    return send(res, error.status, { error: error.code, error_description: error.message }, error.headers)
  }
  console.error('example API: request failed', error)
  send(res, 500, { error: 'server_error', error_description: 'Something went wrong here.' })
}

function send(res: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers })
  res.end(JSON.stringify(body))
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(port, host, resolve)
  await promise
}

async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeAllConnections()
  await promise
}
