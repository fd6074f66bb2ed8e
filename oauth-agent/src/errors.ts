import { randomUUID } from 'node:crypto'
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express'
import {
  describeError,
  errorCatalogue,
  TokenHandlerError,
  type Clock,
  type ErrorCode,
  type Logger,
} from '@token-handler/shared'
import { sendJson } from './answers.ts'

const requestIdHeader = 'x-request-id'
const requestIds = new WeakMap<Request, string>()
const arrivals = new WeakMap<Request, number>()
const refusals = new WeakMap<Request, TokenHandlerError>()

/** The id that the answer to a request carries, and the log. */
export function correlationIdOf(req: Request): string | undefined {
  return requestIds.get(req)
}

/** When a request came, by `clock.monotonic()`: before its body was read. */
export function arrivalOf(req: Request): number {
  return arrivals.get(req) ?? -Infinity
}

/**
 * Gives every request an id, that of a gateway before us if it sends a harmless one, and logs how each ends.
 * @param ended Told of every request: `ok`, our error code, or `client_gone` where nobody waited for the answer.
 */
export function correlate(
  clock: Clock,
  logger: Logger,
  routeOf: (req: Request) => string,
  ended: (route: string, outcome: string) => void,
): RequestHandler {
  return (req, res, next) => {
    const given = req.headers[requestIdHeader]
    const id = typeof given === 'string' && /^[A-Za-z0-9._-]{8,64}$/.test(given) ? given : randomUUID()
    requestIds.set(req, id)
    res.setHeader(requestIdHeader, id)
    const startedAt = clock.monotonic()
    arrivals.set(req, startedAt)
    res.once('close', () => {
      const route = routeOf(req)
      const { code, detail } = refusals.get(req) ?? {}
      ended(route, code ?? (res.writableFinished ? 'ok' : 'client_gone'))
      const fields = {
        event: 'request',
        id,
        method: req.method,
        route,
        status: res.statusCode,
        code,
        detail,
        completed: res.writableFinished,
        ms: Math.round(clock.monotonic() - startedAt),
      }
      if (res.statusCode >= 400) logger.warn(fields, 'Request refused.')
      else logger.info(fields, 'Request answered.')
    })
    next()
  }
}

/**
 * The one place where errors become answers. What is not ours is our bug: a fixed sentence, and the cause in the log.
 * @param refused Told of every error before it is answered.
 */
export function answerErrors(
  logger: Logger,
  detailedErrors: boolean,
  refused: (req: Request, code: ErrorCode) => void,
): ErrorRequestHandler {
  // Express knows an error handler by its four parameters.
  return (error: unknown, req: Request, res: Response, _next) => {
    const known = toTokenHandlerError(error)
    refusals.set(req, known)
    refused(req, known.code)
    if (known.cause !== undefined || known.status >= 500) {
      const fields = { event: 'failed', id: requestIds.get(req), code: known.code, error: describeError(error) }
      if (known.status === 500) logger.error(fields, 'An error that should not be.')
      else logger.warn(fields, 'The request failed.')
    }
    if (res.headersSent) {
      res.destroy()
      return
    }
    const { challenge } = errorCatalogue[known.code]
    if (challenge !== undefined) res.setHeader('www-authenticate', challenge)
    for (const [name, value] of Object.entries(known.headers)) res.setHeader(name, value)
    if (known.retryAfterSeconds !== undefined) res.setHeader('retry-after', String(known.retryAfterSeconds))
    // What is left of a body that we do not read must not be taken for the next request.
    if (known.code === 'payload_too_large' || known.code === 'unsupported_media_type')
      res.setHeader('connection', 'close')
    sendJson(res, known.status, {
      error_code: known.code,
      // As the authorization server knows errors (OpenID Connect Back-Channel Logout 1.0 section 2.8).
      ...(known.code === 'invalid_logout_token' ? { error: 'invalid_request', error_description: known.message } : {}),
      ...(detailedErrors && known.detail !== undefined ? { detailed_error: known.detail } : {}),
    })
  }
}

/** Express and its body reader mark what the client did wrong with a status. */
function toTokenHandlerError(error: unknown): TokenHandlerError {
  if (error instanceof TokenHandlerError) return error
  const { status } = (error ?? {}) as { status?: unknown }
  if (status === 413) return new TokenHandlerError('payload_too_large', { cause: error })
  if (status === 415) return new TokenHandlerError('unsupported_media_type', { cause: error })
  if (status === 400) return new TokenHandlerError('invalid_request', { cause: error })
  return new TokenHandlerError('server_error', { cause: error })
}
