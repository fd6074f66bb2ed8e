import { STATUS_CODES, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { errorCatalogue, type ErrorCode } from '@token-handler/shared'
import { awaitsContinue, sendError } from './answers.ts'

/**
 * Options for every public listener; give them to `http.createServer`. Durations are milliseconds.
 *
 * A request's header must arrive within 20 s and the whole request within 5 minutes, else 408. Idle connections stay open
 * for 65 s, longer than the 60 s of usual proxies in front, which must be the ones to close.
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

/** Open connections of one listener; one more is closed at once. */
const maxConnections = 20_000

/**
 * Makes a server answer in JSON what Node answers in text or not at all: requests that are not HTTP, come too slowly or
 * carry too much, unknown expectations, CONNECT. Who sends `Expect: 100-continue` is asked for the body when a handler reads
 * it, and not when it answers without.
 */
export function hardenServer(server: Server): void {
  server.maxConnections = maxConnections
  // Node would silently drop what exceeds its limit of 2,000 headers; the OAuth Proxy refuses much less.
  server.maxHeadersCount = 0
  server.on('clientError', answerParserError)
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    askForBodyWhenRead(req, res)
    server.emit('request', req, res)
  })
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => {
    sendError(req, res, 'expectation_failed', [])
  })
  server.on('connect', (_req: IncomingMessage, socket: Duplex) => writeError(socket, 'method_not_allowed', ['Allow: ']))
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

/** A socket of node:http knows which answer is being written to it; Node's own handler asks the same. */
interface HttpSocket extends Duplex {
  readonly _httpMessage?: ServerResponse | null
}

function answerParserError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (lingering.has(socket)) return
  const { _httpMessage: answer } = socket as HttpSocket
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
  // More bytes would be taken for a part of the answer that is being written.
  else if (answer?.headersSent === true) (socket as Socket).destroySoon()
  else writeError(socket, parserErrors.get(error.code) ?? 'invalid_request')
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
export function writeError(socket: Duplex, code: ErrorCode, headers: readonly string[] = []): void {
  if (lingering.has(socket)) return
  lingering.add(socket)
  const { status, message } = errorCatalogue[code]
  const body = JSON.stringify({ code, message })
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => clearTimeout(timer))
  socket.on('end', () => socket.destroy())
  socket.resume()
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'X-Content-Type-Options: nosniff',
      'Connection: close',
      ...headers,
      '',
      body,
    ].join('\r\n'),
  )
}
