import type { RequestHandler } from 'express'
import { reservedRefreshParameters, TokenHandlerError, type AuditEvent, type Clock } from '@token-handler/shared'
import { addCookies, sendJson, sessionTimes } from './answers.ts'
import type { Recorder } from './audit-trail.ts'
import { arrivalOf } from './errors.ts'
import type { OAuthAgentOptions } from './options.ts'
import { allowedParameters, parametersOf } from './parameters.ts'
import type { RefreshOutcome, RefreshProtocol } from './refresh-protocol.ts'
import { accessSecondsLeft, auditFacts, type RefreshCookieClaims } from './session-claims.ts'
import type { SessionContext } from './session-context.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

/** The SPA says that nobody did anything since the refresh before: the idle deadline stays where it is. */
const backgroundHeader = 'token-handler-background'

/** `POST refresh`: shows the browser's generation to the protocol, and tells the browser what came of it. */
export function refresh({
  options,
  sessions,
  cookies,
  protocol,
  context,
  clock,
  audit,
}: {
  readonly options: OAuthAgentOptions
  readonly sessions: Pick<Sessions, 'open'>
  readonly cookies: SessionCookies
  readonly protocol: RefreshProtocol
  readonly context: Pick<SessionContext, 'check'>
  readonly clock: Clock
  readonly audit: Recorder
}): RequestHandler {
  const refused = options.refreshParameters.find((name) => reservedRefreshParameters.has(name))
  if (refused !== undefined) throw new Error(`refresh parameter ${refused} cannot be left to the SPA`)
  const allowed = new Set(options.refreshParameters)
  return async (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const parameters = allowedParameters(parametersOf(req), allowed)
    const session = sessions.open(cookieHeader)
    if (session === undefined) {
      audit.record({ event: 'refresh', outcome: 'refused', reason: 'no_session' })
      throw new TokenHandlerError('session_expired')
    }
    if ('expiredSid' in session) {
      audit.record({ event: 'refresh', outcome: 'refused', reason: 'absolute', sid: session.expiredSid })
      addCookies(res, cookies.clearTag(session.expiredSid, cookieHeader))
      throw new TokenHandlerError('session_expired')
    }
    const { claims: shown } = session
    context.check(req, shown)
    checkScope(parameters, shown)
    const answer = await protocol.refresh(shown, parameters, {
      cameAt: arrivalOf(req),
      isActivity: req.headers[backgroundHeader] !== '1',
    })
    // What was superseded is recorded as that.
    if (answer.outcome !== 'superseded') audit.record(refreshEvent(shown, answer))
    switch (answer.outcome) {
      case 'cookies': {
        const lines = cookies.lines(answer.generation, { cookieHeader, shown })
        addCookies(res, [...lines, ...cookies.clearForeign(cookieHeader, shown.sid, lines)])
        sendJson(res, 200, { ...sessionTimes(answer.generation.claims, clock, answer.idleSecondsLeft) })
        return
      }
      case 'pending':
        if (accessSecondsLeft(shown, clock) === 0) {
          throw new TokenHandlerError('refresh_pending', { retryAfterSeconds: answer.retryAfterSeconds })
        }
        sendJson(res, 200, { ...sessionTimes(shown, clock, undefined) })
        return
      case 'too_large':
        if (answer.generation !== undefined) addCookies(res, cookies.lines(answer.generation, { cookieHeader, shown }))
        else addCookies(res, cookies.clearTag(shown.sid, cookieHeader))
        throw new TokenHandlerError('token_too_large', { detail: `Over budget: ${answer.size}.` })
      case 'ended':
        addCookies(res, cookies.clearTag(shown.sid, cookieHeader))
        throw new TokenHandlerError('session_expired')
      case 'superseded':
        throw new TokenHandlerError('session_superseded')
      case 'store_unavailable':
        throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    }
  }
}

/** A refresh may ask for less than was granted, and never for more (RFC 6749 section 6). */
function checkScope(parameters: URLSearchParams, { scope: granted = '' }: RefreshCookieClaims): void {
  const isGranted = (token: string): boolean => token !== '' && granted.split(' ').includes(token)
  if (parameters.get('scope')?.split(' ').every(isGranted) === false) {
    throw new TokenHandlerError('invalid_request', { detail: 'The scope is more than was granted.' })
  }
}

function refreshEvent(
  { sid, sub }: RefreshCookieClaims,
  answer: Exclude<RefreshOutcome, { outcome: 'superseded' }>,
): AuditEvent {
  const about = { event: 'refresh', sid, subject: sub } as const
  switch (answer.outcome) {
    case 'cookies':
      return { ...about, outcome: 'success', ...auditFacts(answer.generation.claims) }
    case 'pending':
      return { ...about, outcome: 'pending', reason: 'refresh_pending' }
    case 'too_large':
      return { ...about, outcome: 'failure', reason: 'token_too_large' }
    case 'ended':
      return { ...about, outcome: 'refused', reason: answer.reason }
    case 'store_unavailable':
      break
  }
  return { ...about, outcome: 'failure', reason: 'store_unavailable' }
}
