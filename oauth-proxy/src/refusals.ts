import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  describeError,
  errorCatalogue,
  refusalEvent,
  type AccessCookieClaims,
  type AuditLog,
  type ErrorCode,
  type Logger,
  type Peers,
} from '@token-handler/shared'
import { sendError, type HeaderLines } from './answers.ts'
import type { Outcomes } from './outcomes.ts'
import type { Route } from './routes.ts'

/** Why a request is not served, and headers that only this request's answer needs. */
export interface Refusal {
  readonly code: ErrorCode
  readonly headers?: HeaderLines
  /** What the log says besides. */
  readonly log?: Readonly<Record<string, unknown>>
  /** Whose request it is, where that is known. */
  readonly session?: AccessCookieClaims
  /** Method of the request that was judged, where another one asked about it. */
  readonly method?: string | undefined
}

export type Refuse = (
  req: IncomingMessage,
  res: ServerResponse,
  route: Route | undefined,
  refusal: Refusal,
  cause?: unknown,
) => void

/** What RFC 9110 asks for beside a status. */
const usualHeaders = new Map<ErrorCode, HeaderLines>([
  ['upgrade_required', ['upgrade', 'websocket', 'connection', 'upgrade']],
  ['upstream_overloaded', ['retry-after', '1']],
  ['too_many_streams', ['retry-after', '10']],
  ['streams_exhausted', ['retry-after', '10']],
  ['audit_unavailable', ['retry-after', '2']],
  ['shutting_down', ['retry-after', '1']],
  ['store_unavailable', ['retry-after', '2']],
])

/**
 * Answers an error and leaves one line about it: codes and the route's path, never what the client sent. Line and answer
 * (`X-Request-Id`) share an id that is ours alone; what a client sends under that name is the API's to read.
 */
export function createRefuse({
  cors,
  logger,
  audit,
  peers,
  unrouted,
  send = sendError,
}: {
  readonly cors: (origin: string | undefined) => HeaderLines
  readonly logger: Logger
  readonly audit: Pick<AuditLog, 'record'>
  readonly peers: Pick<Peers, 'clientAddressOf'>
  /** Counts what is under no route. */
  readonly unrouted: Outcomes
  /** Writes the answer. */
  readonly send?: (req: IncomingMessage, res: ServerResponse, code: ErrorCode, headers: HeaderLines) => void
}): Refuse {
  return (req, res, route, { code, headers = [], log, session, method = req.method }, cause) => {
    const requestId = randomUUID()
    const outcomes = route?.outcomes ?? unrouted
    outcomes.refuse(code)
    const { status, challenge } = errorCatalogue[code]
    const level = status < 500 ? 'info' : status === 500 ? 'error' : 'warn'
    logger[level](
      {
        event: 'request_refused',
        code,
        status,
        method,
        route: route?.path,
        id: requestId,
        ...log,
        ...(cause === undefined ? {} : { cause: describeError(cause) }),
      },
      'A request was refused.',
    )
    const event = refusalEvent(code)
    if (event !== undefined) {
      audit.record({
        event,
        outcome: 'refused',
        reason: code,
        sid: session?.sid,
        subjectHash: session?.sub,
        route: route?.path,
        method,
        status,
        address: peers.clientAddressOf(req),
        correlationId: requestId,
      })
    }
    send(req, res, code, [
      ...cors(req.headers.origin),
      ...(usualHeaders.get(code) ?? []),
      ...(challenge === undefined ? [] : ['www-authenticate', challenge]),
      ...headers,
      'x-request-id',
      requestId,
    ])
  }
}
