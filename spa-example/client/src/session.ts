/** What the OAuth Agent says about the login. All times are seconds left when the answer was received. */
export interface Session {
  readonly isLoggedIn: boolean
  /** The ID-token claims that the agent is configured to show; absent when logged out. */
  readonly idTokenClaims?: Readonly<Record<string, unknown>>
  /** 0 when the access token is over while the session lives: the next call refreshes it. */
  readonly accessTokenExpiresIn?: number
  /** The whole life of the access token. */
  readonly accessTokenLifetime?: number
  /** Until the absolute deadline, which nothing moves. */
  readonly sessionExpiresIn?: number
  /** Until the idle deadline, which a refresh moves if anybody did anything. */
  readonly idleExpiresIn?: number
  /** `performance.now()` of this page when the times were received: monotonic, whatever the clock says. */
  readonly receivedAt: number
}

/** The three deadlines of a session. */
export type SessionDeadline = 'accessTokenExpiresIn' | 'sessionExpiresIn' | 'idleExpiresIn'

/** The times of a session, as `login/end`, `session` and `refresh` answer them. */
export type SessionTimes = Pick<Session, SessionDeadline | 'accessTokenLifetime'>

const TIMES = [
  ['accessTokenExpiresIn', 'access_token_expires_in'],
  ['accessTokenLifetime', 'access_token_lifetime'],
  ['sessionExpiresIn', 'session_expires_in'],
  ['idleExpiresIn', 'idle_expires_in'],
] as const

/** Seconds left now, for a countdown; 0 when over, undefined when the agent did not say. */
export function secondsLeft(
  session: Session,
  deadline: SessionDeadline,
  now: number = performance.now(),
): number | undefined {
  const seconds = session[deadline]
  return seconds === undefined ? undefined : Math.max(0, seconds - (now - session.receivedAt) / 1000)
}

/** The times of an agent's answer; what is absent or not a number stays absent. */
export function parseTimes(answer: Readonly<Record<string, unknown>>): SessionTimes {
  const times: Record<string, number> = {}
  for (const [name, wireName] of TIMES) {
    const value = answer[wireName]
    if (typeof value === 'number' && value >= 0) times[name] = value
  }
  return times
}

/** The session answer of the agent (`login/end`, `session`). */
export function parseSession(answer: Readonly<Record<string, unknown>>): Session {
  const receivedAt = performance.now()
  if (answer['is_logged_in'] !== true) return { isLoggedIn: false, receivedAt }
  return { isLoggedIn: true, ...parseClaims(answer), ...parseTimes(answer), receivedAt }
}

/** The claims of an answer, if it has any. */
export function parseClaims(answer: Readonly<Record<string, unknown>>): Pick<Session, 'idTokenClaims'> {
  const claims = answer['id_token_claims']
  return typeof claims === 'object' && claims !== null ? { idTokenClaims: claims as Record<string, unknown> } : {}
}
