import type { Request, RequestHandler, Response } from 'express'
import { TokenHandlerError, type Clock, type Logger } from '@token-handler/shared'
import { addCookies, sendJson, sessionAnswer, type LiveSession } from './answers.ts'
import { authorizationError, parseAuthorizationResponse } from './authorization-response.ts'
import type { Recorder } from './audit-trail.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Redemption, RedemptionOutcome } from './code-redemption.ts'
import { arrivalOf } from './errors.ts'
import type { ResponseMode } from './options.ts'
import { parametersOf } from './parameters.ts'
import type { PendingLogins } from './pending-login.ts'
import type { SessionContext } from './session-context.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

export interface LoginEndDeps {
  readonly responseMode: ResponseMode
  readonly pendingLogins: PendingLogins
  readonly authorizationServer: Pick<AuthorizationServer, 'checkResponse'>
  readonly redeemCode: (redemption: Redemption) => Promise<RedemptionOutcome>
  readonly sessions: Pick<Sessions, 'judge'>
  readonly cookies: SessionCookies
  readonly clock: Clock
  readonly logger: Logger
  readonly context: Pick<SessionContext, 'factsOf' | 'admits'>
  readonly audit: Recorder
}

/** `POST login/end`: authorization response → code exchange → session cookies. */
export function loginEnd({
  responseMode,
  pendingLogins,
  authorizationServer,
  redeemCode,
  sessions,
  cookies,
  clock,
  logger,
  context,
  audit,
}: LoginEndDeps): RequestHandler {
  async function end(req: Request, res: Response): Promise<void> {
    const { cookie: cookieHeader } = req.headers
    const response = parseAuthorizationResponse(parametersOf(req), responseMode)
    const { state, iss, result } = response
    const pending = pendingLogins.find(cookieHeader, state)
    if (pending === undefined) {
      if ('error' in result) throw new TokenHandlerError('unknown_state')
      sendJson(res, 200, sessionAnswer(await liveSession(req), clock))
      return
    }
    try {
      await authorizationServer.checkResponse(response)
      if ('error' in result) {
        logger.info({ event: 'authorization_refused', oauthError: result.error }, 'The login ended with an error.')
        throw authorizationError(result.error)
      }
      const outcome = await redeemCode({
        pending,
        code: result.code,
        iss,
        cookieHeader,
        context: context.factsOf(req),
      })
      // A repeated login end may come from elsewhere.
      if (outcome.state === 'used' || !context.admits(req, outcome.generation.claims)) {
        const session = await liveSession(req)
        addCookies(res, [pendingLogins.clear(pending)])
        sendJson(res, 200, sessionAnswer(session, clock))
        return
      }
      const { generation, idleSecondsLeft } = outcome
      const lines = [
        cookies.sidLine(generation.claims),
        ...cookies.lines(generation, { cookieHeader }),
        pendingLogins.clear(pending),
      ]
      addCookies(res, [...lines, ...cookies.clearForeign(cookieHeader, generation.claims.sid, lines)])
      const id = generation.id === undefined ? undefined : cookies.openId(generation.id)
      sendJson(res, 200, sessionAnswer({ claims: generation.claims, id, idleSecondsLeft }, clock))
    } catch (error) {
      if (isFinal(error)) addCookies(res, [pendingLogins.clear(pending)])
      throw error
    }
  }

  return async (req, res) => {
    try {
      await end(req, res)
    } catch (error) {
      const reason = error instanceof TokenHandlerError ? error.code : 'server_error'
      audit.record({ event: 'login', outcome: isFinal(error) ? 'failure' : 'pending', reason })
      throw error
    }
  }

  /** A callback that is reloaded, or come back to, finds the session that it made; not from where there is none. */
  async function liveSession(req: Request): Promise<LiveSession> {
    const session = await sessions.judge(req.headers.cookie, arrivalOf(req))
    if (session.state === 'unavailable') throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    if (session.state !== 'live' || !context.admits(req, session.claims)) throw new TokenHandlerError('unknown_state')
    return session
  }
}

/** Trouble that passes keeps the pending login, everything else ends it. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof TokenHandlerError)) return true
  return error.retryAfterSeconds === undefined
}
