import type { IncomingMessage, ServerResponse } from 'node:http'
import { corsHeaders, errorCatalogue, type ErrorCode } from '@token-handler/shared'

/** Header names and values in turn. */
export type HeaderLines = readonly string[]

/** A refused request's body up to this size is read and dropped, so that its connection can go on. */
const droppedBodyBytes = 65_536
/** A larger or unknown one is read for a while before the connection is closed (RFC 9112 section 9.6). */
const lingerBytes = 524_288
const lingerMs = 2_000

const bodies = new Map(
  Object.entries(errorCatalogue).map(([code, { message }]) => [code, JSON.stringify({ code, message })]),
)

/** CORS headers by origin, worked out once: every answer carries them, errors too, else the SPA cannot read why. */
export function createCors(trustedOrigins: ReadonlySet<string>): (origin: string | undefined) => HeaderLines {
  const untrusted = Object.entries(corsHeaders(undefined, trustedOrigins)).flat()
  const trusted = new Map(
    [...trustedOrigins].map((origin) => [origin, Object.entries(corsHeaders(origin, trustedOrigins)).flat()]),
  )
  return (origin) => (origin === undefined ? untrusted : (trusted.get(origin) ?? untrusted))
}

/** Headers of everything that this proxy says itself: nothing of it may be stored, sniffed or run. */
const ownHeaders: HeaderLines = [
  'content-type',
  'application/json',
  'cache-control',
  'no-store',
  'x-content-type-options',
  'nosniff',
  'content-security-policy',
  "default-src 'none'; frame-ancestors 'none'",
]

/** The body of an error answer. */
export function errorBody(code: ErrorCode): string {
  return bodies.get(code) ?? ''
}

/**
 * Answers with `{code, message}`. Does nothing but hang up when an answer has begun already.
 * @param status The catalogue's unless given.
 */
export function sendError(
  req: IncomingMessage,
  res: ServerResponse,
  code: ErrorCode,
  headers: HeaderLines,
  status = errorCatalogue[code].status,
): void {
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  const body = errorBody(code)
  const keepsConnection = isBodySmall(req)
  res.writeHead(status, [
    ...ownHeaders,
    'content-length',
    String(Buffer.byteLength(body)),
    ...headers,
    ...(keepsConnection ? [] : ['connection', 'close']),
  ])
  if (keepsConnection) res.end(body)
  else {
    res.write(body)
    endAfterDrain(req, res)
  }
}

/** Answers a preflight from a trusted origin. */
export function sendPreflight(res: ServerResponse, headers: Readonly<Record<string, string>>): void {
  res.writeHead(204, { ...headers, 'cache-control': 'no-store' })
  res.end()
}

function isBodySmall({ headers, complete }: IncomingMessage): boolean {
  if (complete) return true
  if (headers['transfer-encoding'] !== undefined) return false
  return Number(headers['content-length'] ?? 0) <= droppedBodyBytes
}

/** Whether the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1). */
export function awaitsContinue({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersionMinor === 1
}

/**
 * Ends an answer whose request is still being sent. Closing at once would reset the connection and with it the answer,
 * so what comes is dropped first, up to a limit of bytes and time.
 */
export function endAfterDrain(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete || req.destroyed || awaitsContinue(req)) {
    res.end()
    return
  }
  let left = lingerBytes
  const finish = (): void => {
    clearTimeout(timer)
    req.off('data', count).off('end', finish).off('close', finish)
    res.end()
  }
  const count = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) finish()
  }
  const timer = setTimeout(finish, lingerMs)
  req.on('data', count).on('end', finish).on('close', finish)
  req.resume()
}
