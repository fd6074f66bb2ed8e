import { createSecretKey } from 'node:crypto'
import {
  chunkedCookieValues,
  cookieTag,
  openUnder,
  readSessionCookie,
  sealUnder,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type Ended,
  type EndedSession,
  type EndReason,
  type Judgement,
  type Ledger,
  type Logger,
  type SessionClaims,
  type ShownGeneration,
} from '@token-handler/shared'
import type { LiveSession } from './answers.ts'
import type { Recorder } from './audit-trail.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Background } from './background.ts'
import type { OAuthAgentOptions } from './options.ts'
import {
  accessSecondsLeft,
  identityOf,
  isInForce,
  type Generation,
  type IdCookieClaims,
  type RefreshCookieClaims,
} from './session-claims.ts'
import type { SessionCookies } from './session-cookies.ts'

/** A browser's session as its cookies show it, before the ledger was asked. */
export interface ShownSession {
  readonly claims: RefreshCookieClaims
  readonly id: IdCookieClaims | undefined
}

/** The request that shows a session. */
export interface Showing {
  /** `clock.monotonic()` when it came; `-Infinity` where no browser shows the cookies, and so acknowledges none. */
  readonly cameAt: number
  /** Whether it moves the idle deadline. */
  readonly isActivity: boolean
}

export type JudgedSession =
  | ({ readonly state: 'live' } & LiveSession)
  /** Positively over: the cookies under its tag are to be cleared. */
  | { readonly state: 'ended'; readonly sid: string }
  /** Nothing that opens and belongs together; or replaced cookies. Nothing is cleared. */
  | { readonly state: 'none' }
  /** The rules known here are too old to go by. */
  | { readonly state: 'unavailable' }

/** Opens, judges and ends sessions; knows cookies and ledger, but no HTTP. */
export interface Sessions {
  /** The session of a Cookie header, if its cookies open and belong together. */
  open(cookieHeader: string | undefined): ShownSession | { readonly expiredSid: string } | undefined
  /** The same, if it has not expired. */
  openUnexpired(cookieHeader: string | undefined): ShownSession | undefined
  /**
   * Opens and asks the ledger (rows 9 to 15); without the store, the sealed cookie and the rules answer. The ledger's word
   * that a session lives counts only beside rules that are fresh: the subject, the client or the key may be over.
   */
  judge(cookieHeader: string | undefined, cameAt: number): Promise<JudgedSession>
  /** Whether any cookie came along that we sealed for this session. */
  proves(cookieHeader: string | undefined, sid: string): boolean
  /** What the ledger is shown of a generation. */
  shown(claims: RefreshCookieClaims, want: ShownGeneration['want'], showing: Showing): ShownGeneration
  /** Row 10: the newest generation that the holder of `claims` can open, or `undefined` when the chain is broken. */
  openSuccessors(claims: RefreshCookieClaims, blobs: readonly string[]): Generation | undefined
  /** Seals a generation for the holder of the one before it. */
  park(claims: RefreshCookieClaims, next: Generation): string
  /** A generation as text that is to be sealed again: it opens to who has the keys of the cookies in it. */
  serialize(generation: Generation): string
  deserialize(text: string): Generation | undefined
  /**
   * A session that was ended from elsewhere left its refresh token in the browser's cookie: the first agent to see it
   * revokes it, so that none that anyone can open stays alive.
   */
  revokeLeftover(claims: RefreshCookieClaims, reason: EndReason): void
  /** The ledger says that a session is over: recorded where that has just come to pass. */
  reportEnd(claims: RefreshCookieClaims, ended: Ended): void
  /** Row 11: replaced cookies were shown again. */
  reportSuperseded(claims: RefreshCookieClaims): void
  /**
   * Row 13: ends a session in the ledger, and tries again while the store is away.
   * @param withRule `false` leaves the access cookie to run out.
   * @param subject Whose session it is, for the record.
   */
  end(sid: string, reason: EndReason, withRule: boolean, subject?: string): Promise<void>
  /** Row 13 for a sid that nothing proves: ends the session if the ledger has one, else leaves no trace. */
  endIfKnown(sid: string, reason: EndReason): Promise<void>
  /** The same as `end`, and revokes the newest refresh token that the browser's cookies lead to. */
  endAndRevoke(claims: RefreshCookieClaims, reason: EndReason, withRule: boolean): Promise<void>
}

export interface SessionsDeps {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly cookies: SessionCookies
  readonly ledger: Ledger
  readonly authorizationServer: Pick<AuthorizationServer, 'revoke'>
  readonly background: Background
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: Recorder
}

/** Whoever ends a session for one of these reasons sees to its refresh token, or was told that it is dead. */
const revokedAtEnd: ReadonlySet<EndReason> = new Set([
  'logout',
  'refused',
  'replaced',
  'subject_changed',
  'login_failed',
])

/** Ends that wait for the store at most, of sessions that perhaps never were. */
const mostUnproven = 200

export function createSessions(deps: SessionsDeps): Sessions {
  const { options, names, sealer, cookies, ledger, background, clock, logger, audit } = deps
  const { issuer, timeoutSeconds } = options.authorizationServer
  const sealedCookies = [
    ['refresh-token', names.refreshToken],
    ['id-token', names.idToken],
    ['access-token', names.accessToken],
  ] as const
  let unproven = 0

  function open(cookieHeader: string | undefined): ShownSession | { readonly expiredSid: string } | undefined {
    const refresh = readSessionCookie<RefreshCookieClaims>(cookieHeader, 'refresh-token', names.refreshToken, {
      names,
      sealer,
    })
    if (!refresh.ok) return refresh.reason === 'expired' ? { expiredSid: refresh.sid } : undefined
    const id = readSessionCookie<IdCookieClaims>(cookieHeader, 'id-token', names.idToken, { names, sealer })
    return {
      claims: { ...refresh.claims, kid: refresh.kid },
      id: id.ok && id.sid === refresh.sid && isInForce(id.claims, refresh.claims) ? id.claims : undefined,
    }
  }

  function shown(
    claims: RefreshCookieClaims,
    want: ShownGeneration['want'],
    { cameAt, isActivity }: Showing,
  ): ShownGeneration {
    return {
      sid: claims.sid,
      generation: claims.g,
      want,
      // DESIGN section 7: the limit of the call, and a margin to write down its outcome.
      leaseSeconds: timeoutSeconds + 5,
      ageMs: () => clock.monotonic() - cameAt,
      isActivity,
      identity: identityOf(claims, issuer),
      absoluteDeadline: claims.exp,
      idleSeconds: options.session.idleSeconds,
    }
  }

  function live(session: ShownSession, idleSecondsLeft: number | undefined): JudgedSession {
    const { rules } = ledger
    const hasToken = accessSecondsLeft(session.claims, clock) > 0
    if (rules.areStale() || (rules.mayBeMissed() && !hasToken)) return { state: 'unavailable' }
    return { state: 'live', ...session, idleSecondsLeft }
  }

  function judged(session: ShownSession, judgement: Judgement): JudgedSession {
    const { claims } = session
    switch (judgement.state) {
      case 'current':
        return live(session, judgement.idleSecondsLeft)
      case 'held':
      case 'leased':
        return live(session, undefined)
      case 'successors':
        return live(newestOf(session, judgement.blobs), undefined)
      case 'superseded':
        reportSuperseded(claims)
        return { state: 'none' }
      case 'ended':
        reportEnd(claims, judgement)
        revokeLeftover(claims, judgement.reason)
        return { state: 'ended', sid: claims.sid }
      case 'absent':
        return { state: 'ended', sid: claims.sid }
      case 'unknown':
        break
    }
    if (ledger.rules.endOf(identityOf(claims, issuer)) !== undefined) return { state: 'ended', sid: claims.sid }
    return live(session, undefined)
  }

  /** What a session may is told by its newest generation; how long its access cookie lives, by the one that was shown. */
  function newestOf(session: ShownSession, blobs: readonly string[]): ShownSession {
    const newest = openSuccessors(session.claims, blobs)
    if (newest === undefined) return session
    const { ate, atl } = session.claims
    const id = newest.id === undefined ? session.id : cookies.openId(newest.id)
    return { claims: { ...newest.claims, ate, atl }, id }
  }

  function reportSuperseded(claims: RefreshCookieClaims): void {
    const doesEnd = options.onSuperseded === 'end_session'
    logger.warn(
      { event: 'session_superseded', security: true, subject: identityOf(claims, issuer).subjectHash, doesEnd },
      'Replaced session cookies were shown again: copied, or restored by the browser.',
    )
    const { sid, sub: subject, g: generation } = claims
    const details = { generation }
    audit.record({
      event: 'session_superseded',
      outcome: 'refused',
      reason: 'session_superseded',
      sid,
      subject,
      details,
    })
    if (doesEnd) background.follow('end of a superseded session', end(sid, 'superseded', true, subject))
  }

  function revokeLeftover({ rt }: RefreshCookieClaims, reason: EndReason): void {
    if (rt !== undefined && !revokedAtEnd.has(reason)) deps.authorizationServer.revoke({ refreshToken: rt })
  }

  function recordEnd(sid: string, reason: EndReason, subject?: string): void {
    logger.info({ event: 'session_ended', security: true, reason }, 'A session was ended.')
    audit.record({ event: reason === 'logout' ? 'logout' : 'session_ended', outcome: 'success', reason, sid, subject })
  }

  function reportEnd({ sid, sub }: RefreshCookieClaims, { reason, isNew }: Ended): void {
    if (isNew === true) recordEnd(sid, reason, sub)
  }

  /** @param ended Called once it is written, with what was parked for those who know only the given generation. */
  async function endInLedger(
    session: Omit<EndedSession, 'keepSeconds'>,
    subject: string | undefined,
    ended: (blobs: readonly string[]) => void = () => undefined,
  ): Promise<void> {
    const { sid, reason } = session
    let isRecorded = false
    const attempt = async (): Promise<boolean> => {
      const end = await ledger.end({ ...session, keepSeconds: options.session.absoluteSeconds })
      const isEnded = end.state === 'ended'
      // One end, one record: of the first who ended it, or of whoever could not find out.
      if (!isRecorded && (!isEnded || end.isNew === true)) recordEnd(sid, reason, subject)
      isRecorded = true
      if (isEnded) ended(end.blobs ?? [])
      return isEnded
    }
    // Until it is written, other replicas take copies of the cookies.
    if (!(await attempt())) background.persist('end of a session', attempt, { longestPauseMs: 500 })
  }

  const end: Sessions['end'] = (sid, reason, withRule, subject) => endInLedger({ sid, reason, withRule }, subject)

  async function endIfKnown(sid: string, reason: EndReason): Promise<void> {
    const { absoluteSeconds: keepSeconds } = options.session
    const attempt = async (): Promise<boolean> => {
      const answer = await ledger.end({ sid, reason, keepSeconds, withRule: true, ifKnown: true })
      if (answer.state === 'ended' && answer.isNew === true) recordEnd(sid, reason)
      return answer.state !== 'unknown'
    }
    if ((await attempt()) || unproven >= mostUnproven) return
    unproven += 1
    const persisted = async (): Promise<boolean> => {
      const isSettled = await attempt()
      if (isSettled) unproven -= 1
      return isSettled
    }
    background.persist('end of a session, if there is one', persisted, { longestPauseMs: 500 })
  }

  const endAndRevoke: Sessions['endAndRevoke'] = async (claims, reason, withRule) => {
    const { sid, g: generation, rt } = claims
    const revoked = new Set<string>()
    const revoke = (refreshToken: string | undefined): void => {
      if (refreshToken === undefined || revoked.has(refreshToken)) return
      revoked.add(refreshToken)
      deps.authorizationServer.revoke({ refreshToken })
    }
    // Which one is the newest is told by the end itself: a moment earlier, a refresh may be committed in between.
    await endInLedger({ sid, reason, withRule, generation }, claims.sub, (blobs) =>
      revoke((openSuccessors(claims, blobs)?.claims ?? claims).rt),
    )
    // Without the store, what the cookie holds is the newest that can be had.
    if (revoked.size === 0) revoke(rt)
  }

  const serialize = ({ refresh, access, id }: Generation): string => JSON.stringify({ refresh, access, id })

  function deserialize(text: string): Generation | undefined {
    const { refresh, access, id } = JSON.parse(text) as Omit<Generation, 'claims'>
    const claims = cookies.openRefresh(refresh)
    return claims === undefined ? undefined : { claims, refresh, access, id }
  }

  function openSuccessors(claims: RefreshCookieClaims, blobs: readonly string[]): Generation | undefined {
    let newest: Generation | undefined
    for (const blob of blobs) {
      const text = openUnder(keyOf(newest?.claims ?? claims), blob)
      if (text === undefined) return undefined
      const next = deserialize(text)
      if (next === undefined || next.claims.sid !== claims.sid) return undefined
      newest = { ...next, id: next.id ?? newest?.id }
    }
    return newest
  }

  return {
    open,
    shown,
    openSuccessors,
    reportSuperseded,
    revokeLeftover,
    reportEnd,
    end,
    endIfKnown,
    endAndRevoke,

    proves: (cookieHeader, sid) =>
      sealedCookies.some(([purpose, nameOf]) =>
        chunkedCookieValues(cookieHeader, nameOf(cookieTag(sid))).some((value) => {
          const opened = sealer.open<SessionClaims>(purpose, value)
          return opened.ok && opened.claims.sid === sid
        }),
      ),

    openUnexpired(cookieHeader) {
      const session = open(cookieHeader)
      return session !== undefined && 'claims' in session ? session : undefined
    },

    async judge(cookieHeader, cameAt) {
      const session = open(cookieHeader)
      if (session === undefined) return { state: 'none' }
      if ('expiredSid' in session) return { state: 'ended', sid: session.expiredSid }
      return judged(session, await ledger.show(shown(session.claims, 'look', { cameAt, isActivity: false })))
    },

    serialize,
    deserialize,
    park: (claims, next) => sealUnder(keyOf(claims), serialize(next)),
  }
}

function keyOf({ k }: RefreshCookieClaims): ReturnType<typeof createSecretKey> {
  return createSecretKey(Buffer.from(k, 'base64url'))
}
