import { randomUUID } from 'node:crypto'
import { STATUS_CODES, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Counter, errorCatalogue, Registry, silentLogger, type ErrorCode, type Logger } from '@token-handler/shared'
import { awaitsContinue } from './answers.ts'
import { ClientConnections, type HttpSocket } from './client-connections.ts'
import { mostOpenFiles } from './open-files.ts'
import { mayTakeLonger } from './request-body.ts'

/**
 * Options for every public listener; give them to `http.createServer`. Durations are milliseconds.
 *
 * A request's header must arrive within 20 s and the whole request within 5 minutes, else 408; bodies for APIs that come fast
 * enough may take longer. Idle connections stay open for 65 s, longer than the 60 s of usual proxies in front, which must be the ones to close.
 */
export const serverOptions: ServerOptions = {
  maxHeaderSize: 16_384,
  headersTimeout: 20_000,
  requestTimeout: 300_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 65_000,
  insecureHTTPParser: false,
  joinDuplicateHeaders: false,
  // The OAuth Proxy answers a missing Host itself, in JSON.
  requireHostHeader: false,
  optimizeEmptyRequests: true,
}

/** A client that takes nothing of an answer that was ended is cut off after this; routes of the OAuth Proxy say so themselves. */
const unreadMs = 60_000

/** A body that takes longer than a request may is looked at this often in that time: each minute. */
const rateWindows = 5

/** Most open connections of one listener, unless its `maxConnections` says otherwise. */
const maxConnections = 20_000

/** Of the open files that the process may have, these are for other things than connections. */
const ownFiles = 256

/**
 * Makes a server answer in JSON what Node answers in text or not at all: requests that are not HTTP, come too slowly or
 * carry too much, and CONNECT. Who sends `Expect: 100-continue` is asked for the body when a handler reads it, and not when
 * it answers without; any other expectation is the handler's to judge (RFC 9110 section 10.1.1).
 *
 * The number of connections is limited to the server's `maxConnections` (20,000 unless set before), and to what the open
 * files of the process allow, each request taking a second one towards its API. The last free place is not kept by whoever
 * came first: connections without a request under way are closed for new ones.
 * @param logger Gets one line for each request that is refused here.
 * @param registry Where metrics are registered; one of its own unless given.
 */
export function hardenServer(server: Server, logger: Logger = silentLogger, registry: Registry = new Registry()): void {
  const refused = new Counter({
    name: 'token_handler_unparsed_requests_total',
    help: 'Requests that were refused before any part saw them: no HTTP, too slow, too large, CONNECT.',
    labelNames: ['code'],
    registers: [registry],
  })
  for (const code of ['invalid_request', 'method_not_allowed', ...parserErrors.values()]) refused.inc({ code }, 0)
  const dropped = new Counter({
    name: 'token_handler_dropped_connections_total',
    help: 'Connections that were closed at once, for there were too many.',
    registers: [registry],
  })
  server.on('drop', () => dropped.inc())
  const displaced = new Counter({
    name: 'token_handler_displaced_connections_total',
    help: 'Connections without a request under way that were closed to make room for others.',
    registers: [registry],
  })
  server.maxConnections = connectionLimit(server.maxConnections)
  const connections = new ClientConnections(server, (count) => displaced.inc(count))
  spareUnsentAnswers(server, connections)
  server.setTimeout(unreadMs, (socket) => {
    const { _httpMessage: answer } = socket as HttpSocket
    // What has not ended may be quiet for as long as its handler likes. Idle connections are left to whoever listens here.
    if ((answer?.writableEnded ?? true) || socket.writableEnded) socket.destroy()
  })
  // Node would silently drop what exceeds its limit of 2,000 headers; the OAuth Proxy refuses much less.
  server.maxHeadersCount = 0
  const refuse = (socket: Duplex, code: ErrorCode, headers: readonly string[] = []): void => {
    const { status } = errorCatalogue[code]
    const requestId = randomUUID()
    refused.inc({ code })
    logger.info({ event: 'request_refused', code, status, id: requestId }, 'A request was refused.')
    writeError(socket, code, [`X-Request-Id: ${requestId}`, ...headers])
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (lingering.has(socket)) return
    // Node tells it once a request, and leaves the connection to this listener.
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && mayTakeLonger(socket, server.requestTimeout / rateWindows)) return
    const { _httpMessage: answer } = socket as HttpSocket
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    // More bytes would be taken for a part of the answer that is being written.
    else if (answer?.headersSent === true) (socket as Socket).destroySoon()
    else refuse(socket, parserErrors.get(error.code) ?? 'invalid_request')
  })
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    askForBodyWhenRead(req, res)
    server.emit('request', req, res)
  })
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => server.emit('request', req, res))
  server.on('connect', (req: IncomingMessage, socket: Duplex) => {
    if (isAnswering(req.socket)) socket.destroy()
    else refuse(socket, 'method_not_allowed', ['Allow: '])
  })
}

/**
 * Most connections of a listener: as many as wanted, if the open files are enough for them and as many to APIs.
 * @param wanted 20,000 unless given.
 */
function connectionLimit(wanted: number | undefined): number {
  const allowed = Math.max(ownFiles / 2, Math.floor((mostOpenFiles() - ownFiles) / 2))
  return Math.min(wanted ?? maxConnections, allowed)
}

/**
 * Node takes a connection for idle once its answer was ended, although the client may not have all of it yet, and cuts it
 * when the server is closed. Those that still have something to send are spared, until they have sent it.
 */
function spareUnsentAnswers(server: Server, connections: ClientConnections): void {
  const closeIdleConnections = server.closeIdleConnections.bind(server)
  // The server calls it by itself when it is closed.
  server.closeIdleConnections = () => {
    const sending = connections.sending()
    for (const socket of sending) socket.destroy = () => socket
    closeIdleConnections()
    for (const socket of sending) Reflect.deleteProperty(socket, 'destroy')
  }
}

/** Whoever reads a stream, by events, pipe or iteration, makes it call its `_read` (Node's documentation, "Implementing a readable stream"). */
function askForBodyWhenRead(req: IncomingMessage, res: ServerResponse): void {
  // oxlint-disable no-underscore-dangle -- the stream's own name for it
  const read = req._read.bind(req)
  req._read = (size) => {
    if (awaitsContinue(req) && !res.headersSent) {
      delete req.headers.expect
      res.writeContinue()
    }
    read(size)
  }
  // oxlint-enable no-underscore-dangle
}

/** Whether an earlier request of the connection is still being answered. */
export function isAnswering(socket: Duplex): boolean {
  const { _httpMessage: answer } = socket as HttpSocket
  return answer !== undefined && answer !== null
}

const parserErrors = new Map<string | undefined, ErrorCode>([
  ['HPE_HEADER_OVERFLOW', 'headers_too_large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 'payload_too_large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request_timeout'],
])

/** What a client still sends is dropped for this long: closing at once would reset the connection and with it the answer. */
const lingerMs = 1_000
const lingering = new WeakSet<Duplex>()

/** Writes an error answer to a bare socket and closes it. */
function writeError(socket: Duplex, code: ErrorCode, headers: readonly string[]): void {
  if (lingering.has(socket)) return
  lingering.add(socket)
  const { status, message } = errorCatalogue[code]
  const body = JSON.stringify({ code, message })
  lingerAndClose(
    socket,
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'X-Content-Type-Options: nosniff',
      "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
      'Connection: close',
      ...headers,
      '',
      body,
    ].join('\r\n'),
  )
}

/** Says the last, and closes: at once when the other side does, else after a moment in which what it sends is dropped. */
export function lingerAndClose(socket: Duplex, last = ''): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => clearTimeout(timer))
  socket.on('end', () => socket.destroy())
  socket.resume()
  socket.end(last)
}
