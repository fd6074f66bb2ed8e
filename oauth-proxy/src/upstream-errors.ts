import { errors } from 'undici'
import { TokenHandlerError, type ErrorCode } from '@token-handler/shared'

/** The API's answer cannot be passed on; the cause is for the log. */
export class InvalidResponseError extends Error {
  override readonly name = 'InvalidResponseError'
}

/** No connection is left for one more request: the process or the machine ran out of them. */
const exhausted = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS'])
/** The connection ended without a word, as an idle one does that the API closes at the moment of its next request. */
const dropped = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const timedOut = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
  'ERR_UPSTREAM_UPGRADE_TIMEOUT',
])
const invalid = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'ERR_INVALID_CHAR',
  'ERR_HTTP_INVALID_HEADER_VALUE',
  'ERR_INVALID_HTTP_TOKEN',
  'ERR_HTTP_INVALID_STATUS_CODE',
])
const closed = new Set(['UND_ERR_CLOSED', 'UND_ERR_DESTROYED'])

/**
 * The code for what became of a call to an API.
 * @param answerBegan Whether the API had begun to answer: then what came was no answer, else it was not reached.
 */
export function codeOfUpstreamError(error: Error, answerBegan: boolean): ErrorCode {
  if (error instanceof TokenHandlerError) return error.code
  if (error instanceof InvalidResponseError) return 'upstream_invalid_response'
  const code = codeOf(error)
  if (timedOut.has(code)) return 'upstream_timeout'
  if (invalid.has(code) || code.startsWith('HPE_') || error instanceof errors.HTTPParserError)
    return 'upstream_invalid_response'
  if (exhausted.has(code)) return 'upstream_overloaded'
  if (closed.has(code)) return 'shutting_down'
  // What undici refuses to send, and errors of no network at all, are ours to mend.
  if (code === 'UND_ERR_INVALID_ARG' || code === '') return 'server_error'
  return answerBegan ? 'upstream_invalid_response' : 'upstream_unavailable'
}

/** Whether the connection went away as an idle one may: the request may be sent once more when it is safe to repeat. */
export function isDroppedConnection(error: Error): boolean {
  return dropped.has(codeOf(error))
}

function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' ? code : ''
}
