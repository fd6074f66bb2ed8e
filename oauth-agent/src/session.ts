import type { RequestHandler } from 'express'
import { TokenHandlerError, type Clock } from '@token-handler/shared'
import { addCookies, loggedOutAnswer, sendJson, sessionAnswer } from './answers.ts'
import { arrivalOf } from './errors.ts'
import type { SessionContext } from './session-context.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

/** `GET session`: who is logged in, and for how long. Sets no session cookie; clears those of a session that is over. */
export function session({
  sessions,
  cookies,
  context,
  clock,
}: {
  readonly sessions: Pick<Sessions, 'judge'>
  readonly cookies: Pick<SessionCookies, 'clearTag' | 'clearForeign' | 'clearLeftovers'>
  readonly context: Pick<SessionContext, 'admits'>
  readonly clock: Clock
}): RequestHandler {
  return async (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const judged = await sessions.judge(cookieHeader, arrivalOf(req))
    if (judged.state === 'live') {
      // For whoever comes from elsewhere there is no session; where it belongs, it goes on.
      if (!context.admits(req, judged.claims)) {
        sendJson(res, 200, loggedOutAnswer)
        return
      }
      addCookies(res, cookies.clearForeign(cookieHeader, judged.claims.sid, []))
      sendJson(res, 200, sessionAnswer(judged, clock))
      return
    }
    if (judged.state === 'unavailable') throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    const cleared = judged.state === 'ended' ? cookies.clearTag(judged.sid, cookieHeader) : []
    addCookies(res, [...cleared, ...cookies.clearLeftovers(cookieHeader, cleared)])
    sendJson(res, 200, loggedOutAnswer)
  }
}
