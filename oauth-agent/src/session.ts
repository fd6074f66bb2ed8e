import type { RequestHandler } from 'express'
import type { Clock } from '@token-handler/shared'
import { addCookies, loggedOutAnswer, sendJson, sessionAnswer } from './answers.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

/** `GET session`: who is logged in, and for how long. Sets no session cookie; clears those of a session that is over. */
export function session({
  sessions,
  cookies,
  clock,
}: {
  readonly sessions: Pick<Sessions, 'judge'>
  readonly cookies: Pick<SessionCookies, 'clearTag' | 'clearForeign'>
  readonly clock: Clock
}): RequestHandler {
  return async (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const judged = await sessions.judge(cookieHeader)
    if (judged.state === 'live') {
      addCookies(res, cookies.clearForeign(cookieHeader, judged.claims.sid, []))
      sendJson(res, 200, sessionAnswer(judged, clock))
      return
    }
    if (judged.state === 'ended') addCookies(res, cookies.clearTag(judged.sid))
    sendJson(res, 200, loggedOutAnswer)
  }
}
