import type { SessionIdentity } from '../session-cookies.ts'
import type { SessionDirectory } from './directory.ts'
import type { Rule, RuleSurvey, StalePolicy } from './rules.ts'

/**
 * The shared record of every session: what makes refresh safe with one-time refresh tokens, and sessions revocable. It
 * never holds a readable token: what it parks is sealed under keys that only the browser's cookies hold.
 *
 * Every operation is one atomic step on the store's clock. Answers are typed: a store that cannot be asked answers
 * `{ state: 'unknown' }`, which is never the same as `absent`; nothing here throws because of the store.
 * The states and rows named below are those of docs/sessions.md.
 */
export interface Ledger {
  /** Short name for logs and metrics. */
  readonly kind: string

  /**
   * Row 1, first half: writes the record before the authorization code is redeemed, so that no session can exist that the
   * ledger does not know. The answer gives the session's start on the ledger's clock.
   */
  begin(
    sid: string,
    deadlines: SessionDeadlines,
  ): Promise<Unknown | { readonly state: 'begun'; readonly startedAt: number }>

  /** Row 1, second half: the session is live with generation 0. */
  complete(identity: SessionIdentity): Promise<Unknown | Ended | Absent | { readonly state: 'live' }>

  /** Drops a record whose login failed. */
  discard(sid: string): Promise<void>

  /** Judges a shown generation: rows 2, 3, 7 and 9 to 15. */
  show(shown: ShownGeneration): Promise<Judgement>

  /** Re-reads, just before sending, whether the lease is still the caller's. */
  holds(sid: string, lease: string): Promise<Unknown | { readonly state: 'held' | 'lost' }>

  /** Row 4: the authorization server gave a success for `generation`; `blob` holds the cookies of the next one. */
  commit(commit: Commit): Promise<Unknown | Ended | Successors | Superseded | Committed>

  /** Row 5: the authorization server surely did not process the request. */
  release(sid: string, lease: string): Promise<void>

  /** Row 6: nobody knows whether the authorization server processed the request. */
  doubt(sid: string, lease: string): Promise<void>

  /**
   * Row 8: the authorization server answered `invalid_grant` for `generation`. Re-reads first: only a lease that is still
   * the caller's ends the session.
   */
  refuse(
    sid: string,
    generation: number,
    lease: string,
  ): Promise<Unknown | Ended | Successors | Superseded | { readonly state: 'not_mine' }>

  /**
   * Row 13: writes rule and record; nothing can bring the session back. If the store cannot be asked, this process heeds
   * the rule nevertheless, and the caller tries again.
   */
  end(session: EndedSession): Promise<Unknown | Absent | SessionEnd>

  /** Claims a pending login for one code exchange, or tells what became of it. Ids are forgotten after {@link loginMemorySeconds}. */
  claimLogin(id: string): Promise<Unknown | LoginClaim>

  /** Keeps the sealed outcome of a login for {@link loginRepeatSeconds}; `undefined` marks it as used without one. */
  settleLogin(id: string, outcome: string | undefined): Promise<void>

  /**
   * Claims the id of a logout token. Ids are forgotten after {@link loginMemorySeconds}: the caller refuses tokens that
   * are older.
   */
  claimLogoutToken(id: string): Promise<Unknown | LogoutTokenClaim>

  /** From now on the logout token was used. */
  settleLogoutToken(id: string): Promise<Unknown | { readonly state: 'settled' }>

  /**
   * Ends all sessions that a rule is about, on every replica. If the store cannot be asked, this process heeds the rule
   * nevertheless, and the caller tries again.
   * @param build Given the store's time.
   */
  addRule(build: (now: number) => Rule): Promise<Unknown | { readonly state: 'added'; readonly rule: Rule }>

  /**
   * Keeps an access token that is too large for a cookie, sealed under a key that only the access cookie holds. It goes
   * when it expires, or when its session is ended by {@link end} with a rule.
   */
  putToken(token: HeldToken): Promise<Unknown | { readonly state: 'kept' }>

  /** Fetches what {@link putToken} kept. */
  readToken(
    sid: string,
    reference: string,
  ): Promise<Unknown | Absent | { readonly state: 'found'; readonly sealed: string }>

  /** The rules in force, held in memory by this process. */
  readonly rules: Rules

  /** Who is logged in, and which processes there are: for operators, off the path of requests. */
  readonly directory: SessionDirectory

  close(): Promise<void>
}

/** A pending login is remembered as used for at least as long as its cookie can live. */
export const loginMemorySeconds = 660
/** A repeated login end gets the same session within this time (React's development mode, reload). */
export const loginRepeatSeconds = 60
/** A parked generation may be handed out again until its successor was shown this long after the last hand-out. */
export const acknowledgeAfterSeconds = 60
/** Entries kept in `parked`. */
export const maxParked = 3

export interface HeldToken {
  readonly sid: string
  /** Random, another one for each generation that any process seals: no late one takes the place of another. */
  readonly reference: string
  readonly sealed: string
  /** Milliseconds since 1970: no access cookie that names it lives longer. */
  readonly expiresAt: number
}

export interface SessionDeadlines {
  /** Seconds from the start after which the session is over; never moved. */
  readonly absoluteSeconds: number
  /** Seconds without activity after which it is over; judged when a generation is shown. */
  readonly idleSeconds: number
}

export interface ShownGeneration {
  readonly sid: string
  readonly generation: number
  /** `look` judges and acknowledges; `lease` also asks for the right to spend the refresh token once. */
  readonly want: 'look' | 'lease'
  /** Life of a lease: the limit of one call to the authorization server plus 5 s. */
  readonly leaseSeconds: number
  /**
   * Milliseconds since the browser's request came, by a clock that never jumps; asked for when it is judged. What was sent
   * before the minute was over acknowledges nothing, however late that is.
   */
  readonly ageMs: () => number
  /** Whether this counts as user activity: moves the idle deadline, at most once a minute. */
  readonly isActivity: boolean
  /** The sealed facts of the shown cookie, for a store that lost the session (row 15). */
  readonly identity: SessionIdentity
  /** Seconds since 1970. */
  readonly absoluteDeadline: number
  readonly idleSeconds: number
}

export type Judgement =
  /** Row 9: the newest generation. */
  | { readonly state: 'current'; readonly idleSecondsLeft: number }
  /** Rows 2 and 7: the caller may send the refresh token once. */
  | { readonly state: 'leased'; readonly lease: string; readonly inDoubt: boolean }
  /** Row 3, or the back-off of row 7: somebody else may be sending it. */
  | { readonly state: 'held' }
  | Successors
  | Superseded
  | Ended
  | Absent
  | Unknown

/** Row 4. Nothing is acknowledged: the browser has yet to get the cookies. */
export interface Committed {
  readonly state: 'committed'
  readonly idleSecondsLeft: number
}

/** Row 10: the sealed cookies of the generations after the shown one, oldest first, up to the newest. */
export interface Successors {
  readonly state: 'successors'
  readonly blobs: readonly string[]
  readonly generation: number
}

/** Row 11: an old generation whose successors were acknowledged. */
export interface Superseded {
  readonly state: 'superseded'
}

export interface Ended {
  readonly state: 'ended'
  readonly reason: EndReason
  /** This very step ended it, and no rule that somebody wrote: told once, to be recorded. */
  readonly isNew?: true
}

export interface Absent {
  readonly state: 'absent'
}

export interface Unknown {
  readonly state: 'unknown'
}

export type EndReason =
  | 'logout'
  | 'refused'
  | 'idle'
  | 'absolute'
  | 'subject_changed'
  | 'superseded'
  | 'replaced'
  | 'revoked'
  | 'login_failed'
  | 'backchannel_logout'

export interface Commit {
  readonly sid: string
  /** The generation whose refresh token was spent. */
  readonly generation: number
  /** The lease under which it was sent; a commit counts without it too. */
  readonly lease: string
  /** The cookies of `generation` + 1, sealed under the key that the cookie of `generation` holds. */
  readonly blob: string
  /** The key that sealed those cookies. */
  readonly kid?: string | undefined
  readonly identity: SessionIdentity
  readonly absoluteDeadline: number
  readonly idleSeconds: number
}

export interface EndedSession {
  readonly sid: string
  readonly reason: EndReason
  /** Seconds after which no cookie of the session can be alive; the rule is kept that long. */
  readonly keepSeconds: number
  /** `false` leaves the access cookie to run out: a session that a new login replaces ends softly. */
  readonly withRule: boolean
  /** The generation that the caller holds, if it wants to know the newest one. */
  readonly generation?: number
  /**
   * Nothing proves that there ever was such a session: where the store has no record of it, the answer is `absent` and
   * nothing is written; where the store cannot be asked, nothing is heeded either.
   */
  readonly ifKnown?: boolean
}

export interface SessionEnd {
  readonly state: 'ended'
  /** It was not over before. */
  readonly isNew?: true
  /**
   * Sealed cookies of the generations after {@link EndedSession.generation}, oldest first, up to the newest, which nobody
   * can be given any more: their refresh token is to be revoked. Left out where the caller's is the newest, or the chain
   * is broken.
   */
  readonly blobs?: readonly string[]
}

export type LoginClaim =
  | { readonly state: 'claimed' }
  /** Another request exchanges the code right now. */
  | { readonly state: 'pending' }
  /** Done less than {@link loginRepeatSeconds} ago. */
  | { readonly state: 'settled'; readonly outcome: string }
  | { readonly state: 'used' }

export type LogoutTokenClaim =
  /** `claimedAt`: when it was claimed first, milliseconds on the ledger's clock. */
  { readonly state: 'claimed'; readonly claimedAt: number } | { readonly state: 'used' }

/** "Sessions of X that started before T are over", held in memory on every replica. */
export interface Rules {
  /** Rules that are held. */
  readonly size: number
  /** How many there are, and the newest of each kind, at most `most` of a kind: for operators. */
  survey(most: number): RuleSurvey
  /** The reason why a session is over, or `undefined`. Costs a few map look-ups; called on every proxied request. */
  endOf(session: SessionIdentity): EndReason | undefined
  /** Calls back for every new rule, and when the rules become too old to serve by; the answer stops it. */
  onRule(listener: RuleListener): () => void
  /**
   * Milliseconds since this process surely knew every rule, on the ledger's clock. 0 where rules cannot be missed;
   * `Infinity` until they were loaded for the first time.
   */
  staleForMs(): number
  /**
   * Whether rules may have been missed for longer than the policy allows: then no session may be taken for live. Without
   * `fail_closed` that is so only until they were loaded for the first time.
   */
  areStale(): boolean
  /** Whether rules may have been missed for longer than {@link staleAfterMs}: then nothing is renewed, whatever the policy. */
  mayBeMissed(): boolean
  /** What this process does past {@link staleAfterMs}. */
  readonly stalePolicy: StalePolicy
  /** Milliseconds. */
  readonly staleAfterMs: number
}

/**
 * @param isOver Whether a session is over now.
 * @param cause `rule`: somebody ended sessions. `stale`: nobody knows which sessions were ended, so all are taken for over.
 */
export type RuleListener = (isOver: (session: SessionIdentity) => boolean, cause: 'rule' | 'stale') => void
