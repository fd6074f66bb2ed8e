import { setTimeout as sleep } from 'node:timers/promises'
import {
  identityHash,
  type Clock,
  type EndReason,
  type Judgement,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Background } from './background.ts'
import type { AgentMetrics } from './metrics.ts'
import {
  accessSecondsLeft,
  identityOf,
  nonceHash,
  type Generation,
  type RefreshCookieClaims,
} from './session-claims.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions, Showing } from './sessions.ts'
import type { IssuedTokens, Tokens } from './tokens.ts'

/** What a browser that shows a generation gets. The rows are those of docs/sessions.md. */
export type RefreshOutcome =
  /** Rows 4 and 10. */
  | { readonly outcome: 'cookies'; readonly generation: Generation; readonly idleSecondsLeft: number | undefined }
  /** Rows 4 and 10, but the access token does not fit; the refresh cookie must not be lost. */
  | { readonly outcome: 'too_large'; readonly generation: Generation | undefined; readonly size: string }
  /** Rows 3, 5 and 6: somebody is at it, or nobody knows yet. */
  | { readonly outcome: 'pending'; readonly retryAfterSeconds: number }
  /** Rows 8, 13 and 14: positively over. */
  | { readonly outcome: 'ended'; readonly reason: EndReason | 'no_refresh_token' | 'unknown_session' }
  /** Row 11. */
  | { readonly outcome: 'superseded' }
  /** The store cannot be asked, or has not told for too long which sessions were ended. */
  | { readonly outcome: 'store_unavailable' }

export interface RefreshProtocol {
  /**
   * Refreshes the session that `shown` is a generation of. Requests that show the same generation share one passage
   * through the protocol, those that are no activity one of their own. The answer comes within {@link longestWaitMs}; the
   * passage goes on after that, and after the browser is gone.
   */
  refresh(shown: RefreshCookieClaims, parameters: URLSearchParams, showing: Showing): Promise<RefreshOutcome>
}

export interface RefreshProtocolDeps {
  readonly issuer: string
  readonly idleSeconds: number
  readonly ledger: Ledger
  readonly sessions: Sessions
  readonly cookies: Pick<SessionCookies, 'sealSuccessor'>
  readonly authorizationServer: Pick<AuthorizationServer, 'refresh' | 'revoke'>
  readonly background: Background
  readonly metrics: Pick<AgentMetrics, 'refresh'>
  readonly clock: Clock
  readonly logger: Logger
}

/** A browser waits this long for somebody else's refresh, or for its own. */
export const longestWaitMs = 8_000
/** A lease that was granted longer ago is not used: its holder was paused, and may be no holder any more. */
const freshLeaseMs = 5_000
const pollMs = 250

export function createRefreshProtocol(deps: RefreshProtocolDeps): RefreshProtocol {
  const { issuer, idleSeconds, ledger, sessions, cookies, authorizationServer, background, metrics, clock, logger } =
    deps
  const passages = new Map<string, Promise<RefreshOutcome>>()
  const retrySoon: RefreshOutcome = { outcome: 'pending', retryAfterSeconds: 1 }
  /** Tells one session's events from another's, and opens nothing. */
  const aboutOf = ({ sid, g }: RefreshCookieClaims): { session: string; generation: number } => ({
    session: identityHash(issuer, sid),
    generation: g,
  })

  /** One passage through the table, for all requests of this process that show the same generation. */
  async function pass(
    shown: RefreshCookieClaims,
    parameters: URLSearchParams,
    showing: Showing,
  ): Promise<RefreshOutcome> {
    const startedAt = clock.monotonic()
    for (let waitedMs = 0; ;) {
      if (ledger.rules.mayBeMissed()) return storeUnavailable()
      const askedAt = clock.monotonic()
      const judgement = await ledger.show(sessions.shown(shown, 'lease', showing))
      if (judgement.state === 'leased') {
        const done = await spend(shown, judgement, askedAt, parameters)
        if (done !== 'again') return done
      } else if (judgement.state !== 'held' && judgement.state !== 'current') return conclude(shown, judgement)
      // Row 3, and the back-off of row 7. Both clocks count: a staged one may stand still.
      if (waitedMs === 0) metrics.refresh('waited')
      if (waitedMs >= longestWaitMs || clock.monotonic() - startedAt >= longestWaitMs) return retrySoon
      await sleep(pollMs, undefined, { ref: false })
      waitedMs += pollMs
    }
  }

  /** Rows 10, 11, 13, 14, and a store that cannot be asked. */
  function conclude(
    shown: RefreshCookieClaims,
    judgement: Exclude<Judgement, { state: 'leased' | 'held' | 'current' }>,
  ): RefreshOutcome {
    switch (judgement.state) {
      case 'successors': {
        const newest = sessions.openSuccessors(shown, judgement.blobs)
        if (newest !== undefined) {
          metrics.refresh('replayed')
          return given(newest)
        }
        // Parked by a holder of other keys than ours: nothing that this browser can be given.
        logger.error({ event: 'successor_unreadable' }, 'Parked cookies do not open.')
        return { outcome: 'superseded' }
      }
      case 'superseded':
        metrics.refresh('superseded')
        sessions.reportSuperseded(shown)
        return { outcome: 'superseded' }
      case 'ended':
        sessions.reportEnd(shown, judgement)
        sessions.revokeLeftover(shown, judgement.reason)
        return { outcome: 'ended', reason: judgement.reason }
      case 'absent':
        return { outcome: 'ended', reason: 'unknown_session' }
      case 'unknown':
        break
    }
    return storeUnavailable()
  }

  function storeUnavailable(): RefreshOutcome {
    metrics.refresh('store_unavailable')
    return { outcome: 'store_unavailable' }
  }

  /** Rows 2 and 4 to 8: the holder of the lease sends the refresh token, once. */
  async function spend(
    shown: RefreshCookieClaims,
    { lease, inDoubt }: { readonly lease: string; readonly inDoubt: boolean },
    grantedAt: number,
    parameters: URLSearchParams,
  ): Promise<RefreshOutcome | 'again'> {
    const { sid } = shown
    if (shown.rt === undefined) {
      await ledger.release(sid, lease)
      return accessSecondsLeft(shown, clock) > 0 ? retrySoon : { outcome: 'ended', reason: 'no_refresh_token' }
    }
    const held = await ledger.holds(sid, lease)
    if (held.state === 'unknown') return conclude(shown, held)
    if (held.state === 'lost') return 'again'
    const isFresh = (): boolean => clock.monotonic() - grantedAt < freshLeaseMs
    if (!isFresh()) {
      await ledger.release(sid, lease)
      return 'again'
    }
    const about = aboutOf(shown)
    metrics.refresh(inDoubt ? 'sent_in_doubt' : 'sent')
    if (inDoubt) logger.warn({ event: 'refresh_in_doubt', security: true, ...about }, 'Sent again after a doubt.')
    const answer = await authorizationServer.refresh({
      refreshToken: shown.rt,
      subject: shown.sub,
      isNonce: (nonce) => nonce === undefined || (typeof nonce === 'string' && nonceHash(nonce) === shown.nh),
      parameters,
      mayLeave: isFresh,
    })
    switch (answer.outcome) {
      case 'granted':
        return commit(shown, lease, answer.tokens)
      case 'not_processed':
        metrics.refresh('not_processed')
        await ledger.release(sid, lease)
        return { outcome: 'pending', retryAfterSeconds: Math.max(1, answer.retryAfterSeconds ?? 2) }
      case 'unknown':
        metrics.refresh('in_doubt')
        logger.warn({ event: 'refresh_lost', security: true, ...about }, 'The outcome of a refresh is unknown.')
        await ledger.doubt(sid, lease)
        return 'again'
      case 'refused':
        return refused(shown, lease, answer.isAlive)
      case 'not_this_session':
        break
    }
    metrics.refresh('subject_changed')
    logger.error(
      { event: 'subject_changed', security: true, ...about },
      'The refreshed tokens are not of this session.',
    )
    await sessions.end(sid, 'subject_changed', true, shown.sub)
    revoke(answer.revoke, shown)
    return { outcome: 'ended', reason: 'subject_changed' }
  }

  /** Row 4. */
  async function commit(shown: RefreshCookieClaims, lease: string, tokens: Tokens): Promise<RefreshOutcome> {
    const { sid, g, exp } = shown
    const sealed = cookies.sealSuccessor(shown, tokens)
    const { generation } = sealed
    if (generation === undefined) {
      logger.error({ event: 'token_too_large', size: sealed.fits ? '' : sealed.size }, 'No cookie can hold the tokens.')
      await sessions.end(sid, 'refused', true, shown.sub)
      revoke(tokens, shown)
      return { outcome: 'too_large', generation, size: sealed.fits ? '' : sealed.size }
    }
    await keepToken(generation)
    const blob = sessions.park(shown, generation)
    const identity = identityOf(shown, issuer)
    const write = async (): ReturnType<Ledger['commit']> => {
      const written = await ledger.commit({
        sid,
        generation: g,
        lease,
        blob,
        kid: generation.claims.kid,
        identity,
        absoluteDeadline: exp,
        idleSeconds,
      })
      if (written.state === 'committed') {
        metrics.refresh('committed')
        logger.debug({ event: 'session_refreshed', ...aboutOf(shown) }, 'Refreshed.')
      }
      return written
    }
    const committed = await write()
    if (committed.state === 'successors' || committed.state === 'superseded') return conclude(shown, committed)
    if (committed.state === 'ended') {
      sessions.reportEnd(shown, committed)
      revokeUnused(tokens, shown, committed.reason)
      return { outcome: 'ended', reason: committed.reason }
    }
    if (committed.state === 'unknown') {
      metrics.refresh('commit_late')
      // The browser is the second place where this success survives. The commit has to be there before the doubt is
      // resolved, which after an interruption of the store is in five seconds.
      const attempt = async (): Promise<boolean> => {
        const late = await write()
        if (late.state === 'ended') {
          sessions.reportEnd(shown, late)
          revokeUnused(tokens, shown, late.reason)
        }
        return late.state !== 'unknown'
      }
      background.persist('commit of a refresh', attempt, { longestPauseMs: 500 })
    }
    if (!sealed.fits) return { outcome: 'too_large', generation, size: sealed.size }
    return given(generation, committed.state === 'committed' ? committed.idleSecondsLeft : undefined)
  }

  /**
   * Before the commit: nobody is given an access cookie whose token is not there yet. With the store unreachable it comes
   * later, as the commit does; until then the proxy answers 503 or asks for another refresh.
   */
  async function keepToken({ heldToken }: Generation): Promise<void> {
    if (heldToken === undefined) return
    const keep = async (): Promise<boolean> => (await ledger.putToken(heldToken)).state === 'kept'
    const isLate = async (): Promise<boolean> => clock.now() >= heldToken.expiresAt || (await keep())
    if (!(await keep())) background.persist('access token of a refresh', isLate, { longestPauseMs: 500 })
  }

  /** Row 8: the answer counts only if nobody else went on meanwhile. */
  async function refused(
    shown: RefreshCookieClaims,
    lease: string,
    isAlive: boolean,
  ): Promise<RefreshOutcome | 'again'> {
    const judgement = await ledger.refuse(shown.sid, shown.g, lease)
    if (judgement.state === 'not_mine') return 'again'
    if (judgement.state === 'ended') {
      metrics.refresh('refused')
      const about = aboutOf(shown)
      logger.warn(
        { event: 'refresh_refused', security: true, ...about },
        isAlive
          ? 'The authorization server wants the user to log in again.'
          : 'The refresh token is spent, revoked or expired.',
      )
      if (isAlive && shown.rt !== undefined) authorizationServer.revoke({ refreshToken: shown.rt })
    }
    return conclude(shown, judgement)
  }

  function given(generation: Generation, idleLeft?: number): RefreshOutcome {
    return generation.access === undefined
      ? { outcome: 'too_large', generation, size: 'as logged when it was refreshed' }
      : { outcome: 'cookies', generation, idleSecondsLeft: idleLeft }
  }

  /** What came for a session that is over; but the login that replaced it may live on the same grant (docs/decisions/0006). */
  function revokeUnused(issued: IssuedTokens, shown: RefreshCookieClaims, reason: EndReason): void {
    if (reason !== 'replaced' || shown.asid === undefined) revoke(issued, shown)
  }

  /** An answer without a refresh token leaves the old one in force, so that has to go then. */
  function revoke(issued: IssuedTokens, shown: RefreshCookieClaims): void {
    authorizationServer.revoke({ accessToken: issued.accessToken, refreshToken: issued.refreshToken ?? shown.rt })
  }

  return {
    async refresh(shown, parameters, showing) {
      // Activity has to reach the ledger, though a background refresh is under way.
      const key = `${shown.sid} ${shown.g} ${showing.isActivity}`
      let passage = passages.get(key)
      if (passage === undefined) {
        passage = pass(shown, parameters, showing).finally(() => passages.delete(key))
        passages.set(key, passage)
        background.follow('refresh', passage)
      } else metrics.refresh('shared')
      const patience = new AbortController()
      try {
        return await Promise.race([
          passage,
          sleep(longestWaitMs, retrySoon, { signal: patience.signal, ref: false }).catch(() => retrySoon),
        ])
      } finally {
        patience.abort()
      }
    },
  }
}
