import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  openUnder,
  readSids,
  sealUnder,
  TokenHandlerError,
  type ContextFacts,
  type CookieNames,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import type { Recorder } from './audit-trail.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Background } from './background.ts'
import { isStrongEnough } from './id-token.ts'
import type { AgentMetrics } from './metrics.ts'
import type { OAuthAgentOptions } from './options.ts'
import type { PendingLogin } from './pending-login.ts'
import { asSessionHash, auditFacts, identityOf, type Generation, type RefreshCookieClaims } from './session-claims.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

/** An authorization response that belongs to a pending login of this browser. */
export interface Redemption {
  readonly pending: PendingLogin
  readonly code: string
  readonly iss: string | undefined
  /** Cookie header of the browser, for the session that the new one replaces. */
  readonly cookieHeader: string | undefined
  /** Where the login came from, if its session is to be bound to it. */
  readonly context: ContextFacts | undefined
}

/** What a login comes to: generation 0, or the newest one when a repeated login end comes late. */
export type RedemptionOutcome =
  | { readonly state: 'session'; readonly generation: Generation; readonly idleSecondsLeft: number | undefined }
  /** The code was redeemed before, and the result is not to be had any more. */
  | { readonly state: 'used' }

export interface CodeRedemptionDeps {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly authorizationServer: Pick<AuthorizationServer, 'exchangeCode' | 'revoke'>
  readonly sessions: Sessions
  readonly cookies: Pick<SessionCookies, 'seal'>
  readonly ledger: Ledger
  readonly background: Background
  readonly logger: Logger
  readonly audit: Recorder
  readonly metrics: Pick<AgentMetrics, 'login'>
}

/**
 * Whether a login may live on the grant of the browser's session: both are of one session of the authorization server, and
 * many servers end its grant with any of its tokens. So neither is revoked while the other is to go on (docs/decisions/0006).
 */
function mayShareGrant(asid: string | undefined, session: RefreshCookieClaims | undefined): boolean {
  return asid !== undefined && session?.asid === asid
}

const storeUnavailable = (): TokenHandlerError => new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })

const pollMs = 250
const longestPollMs = 8_000

/**
 * Redeems every code once, however often and on whatever replica the login end is posted (RFC 6749 section 4.1.2): all
 * posts get the same session.
 * @returns a function that throws TokenHandlerError: those of the exchange, `authentication_too_weak`, `token_too_large`, `session_ended`,
 * `store_unavailable`, `login_pending`.
 */
export function createCodeRedemption(deps: CodeRedemptionDeps): (redemption: Redemption) => Promise<RedemptionOutcome> {
  const { options, names, authorizationServer, sessions, cookies, ledger, background, logger, audit, metrics } = deps
  const { absoluteSeconds, idleSeconds } = options.session
  const { issuer } = options.authorizationServer
  const running = new Map<string, Promise<RedemptionOutcome>>()
  let hasMissedRefreshToken = false

  async function claim(redemption: Redemption): Promise<RedemptionOutcome> {
    const { pending } = redemption
    for (let waitedMs = 0; ; waitedMs += pollMs) {
      const claimed = await ledger.claimLogin(pending.id)
      switch (claimed.state) {
        case 'claimed':
          return perform(redemption)
        case 'settled':
          return repeat(pending, claimed.outcome)
        case 'used':
          return { state: 'used' }
        case 'unknown':
          throw storeUnavailable()
        case 'pending':
          if (waitedMs >= longestPollMs) throw new TokenHandlerError('login_pending', { retryAfterSeconds: 2 })
          await sleep(pollMs, undefined, { ref: false })
      }
    }
  }

  async function perform(redemption: Redemption): Promise<RedemptionOutcome> {
    const { pending, cookieHeader } = redemption
    let outcome: string | undefined
    try {
      const generation = await redeem(redemption)
      outcome = sealUnder(pending.key, sessions.serialize(generation))
      background.follow('end of replaced sessions', endReplaced(cookieHeader, generation))
      return { state: 'session', generation, idleSecondsLeft: idleSeconds }
    } finally {
      await ledger.settleLogin(pending.id, outcome)
    }
  }

  /** The record is written before the code is redeemed, so that no session exists that the ledger does not know (row 1). */
  async function redeem({ pending, code, iss, cookieHeader, context }: Redemption): Promise<Generation> {
    const sid = randomBytes(16).toString('base64url')
    const begun = await ledger.begin(sid, { absoluteSeconds, idleSeconds })
    if (begun.state === 'unknown') throw storeUnavailable()
    try {
      const tokens = await authorizationServer.exchangeCode(code, iss, pending)
      try {
        if (!isStrongEnough(tokens.idToken.claims, pending, options.authorizationServer)) {
          throw new TokenHandlerError('authentication_too_weak')
        }
        const requestedScope = pending.scope ?? options.authorizationServer.scope
        const { startedAt } = begun
        const sealed = cookies.seal({ sid, startedAt, tokens, nonce: pending.nonce, requestedScope, context })
        if (!sealed.fits) {
          logger.error({ event: 'token_too_large', size: sealed.size }, 'The tokens do not fit into cookies.')
          throw new TokenHandlerError('token_too_large', { detail: `Over budget: ${sealed.size}.` })
        }
        const { heldToken } = sealed.generation
        if (heldToken !== undefined && (await ledger.putToken(heldToken)).state === 'unknown') throw storeUnavailable()
        await complete(sealed.generation)
        return sealed.generation
      } catch (error) {
        const isRuledOut = error instanceof TokenHandlerError && error.code === 'session_ended'
        const asid = asSessionHash(tokens.idToken.claims, issuer)
        if (isRuledOut || !mayShareGrant(asid, sessions.openUnexpired(cookieHeader)?.claims))
          authorizationServer.revoke(tokens)
        throw error
      }
    } catch (error) {
      await ledger.discard(sid)
      throw error
    }
  }

  async function complete({ claims }: Generation): Promise<void> {
    const identity = identityOf(claims, issuer)
    const completed = await ledger.complete(identity)
    if (completed.state === 'ended') throw new TokenHandlerError('session_ended')
    if (completed.state !== 'live') throw storeUnavailable()
    const fields = { event: 'session_started', security: true, subject: identity.subjectHash }
    logger.info(fields, 'Somebody logged in.')
    metrics.login()
    audit.record({ event: 'login', outcome: 'success', ...auditFacts(claims) })
    if (claims.rt === undefined) reportMissingRefreshToken()
  }

  /** Said once: it is the same for every login until the client or its scope is changed. */
  function reportMissingRefreshToken(): void {
    if (hasMissedRefreshToken) return
    hasMissedRefreshToken = true
    logger.warn(
      { event: 'no_refresh_token' },
      'A login brought no refresh token, so its session ends with the access token. Ask for the scope offline_access, or let the authorization server give this client refresh tokens.',
    )
  }

  /** A repeated login end gets what the first one got, as far as the session still stands there. */
  async function repeat({ key }: PendingLogin, sealedOutcome: string): Promise<RedemptionOutcome> {
    const text = openUnder(key, sealedOutcome)
    const generation = text === undefined ? undefined : sessions.deserialize(text)
    if (generation === undefined) return { state: 'used' }
    // The browser shows a pending login, and need not have these cookies.
    const showing = { cameAt: -Infinity, isActivity: false }
    const judgement = await ledger.show(sessions.shown(generation.claims, 'look', showing))
    if (judgement.state === 'unknown') throw storeUnavailable()
    if (judgement.state === 'current') {
      return { state: 'session', generation, idleSecondsLeft: judgement.idleSecondsLeft }
    }
    const newest =
      judgement.state === 'successors' ? sessions.openSuccessors(generation.claims, judgement.blobs) : undefined
    if (newest === undefined) return { state: 'used' }
    return { state: 'session', generation: { ...newest, id: newest.id ?? generation.id }, idleSecondsLeft: undefined }
  }

  /**
   * The session that this browser had ends softly: its refresh token is revoked, and no rule stops the calls that are
   * under way with its access cookie. Within one session of the authorization server the old token is left to expire: many
   * servers end that session's grant with it, and so the login that was just made (docs/decisions/0006).
   */
  async function endReplaced(cookieHeader: string | undefined, { claims: { asid } }: Generation): Promise<void> {
    const replaced = sessions.openUnexpired(cookieHeader)?.claims
    for (const sid of readSids(cookieHeader, names)) {
      const known = replaced?.sid === sid ? replaced : undefined
      if (known !== undefined && !mayShareGrant(asid, known)) await sessions.endAndRevoke(known, 'replaced', false)
      else await sessions.end(sid, 'replaced', false, known?.sub)
    }
  }

  return (redemption) => {
    const { id } = redemption.pending
    let outcome = running.get(id)
    if (outcome === undefined) {
      outcome = claim(redemption).finally(() => running.delete(id))
      running.set(id, outcome)
      // A browser that hangs up does not stop the exchange; a stop waits for it.
      background.follow('login', Promise.allSettled([outcome]))
    }
    return outcome
  }
}
