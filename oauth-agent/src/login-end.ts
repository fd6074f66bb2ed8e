import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RequestHandler } from 'express'
import {
  openUnder,
  readSids,
  sealUnder,
  TokenHandlerError,
  type Clock,
  type CookieNames,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { addCookies, sendJson, sessionAnswer, type LiveSession } from './answers.ts'
import { authorizationError, parseAuthorizationResponse } from './authorization-response.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Background } from './background.ts'
import type { OAuthAgentOptions } from './options.ts'
import { parametersOf } from './parameters.ts'
import type { PendingLogin, PendingLogins } from './pending-login.ts'
import { identityOf, type Generation, type SessionCookies } from './session-cookies.ts'
import type { Sessions } from './sessions.ts'

export interface LoginEndDeps {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly pendingLogins: PendingLogins
  readonly authorizationServer: AuthorizationServer
  readonly sessions: Sessions
  readonly cookies: SessionCookies
  readonly ledger: Ledger
  readonly background: Background
  readonly clock: Clock
  readonly logger: Logger
}

/** What a login comes to: generation 0, or the newest one when a repeated login end comes late. */
type Outcome =
  | { readonly state: 'session'; readonly generation: Generation; readonly idleSecondsLeft: number | undefined }
  /** The code was redeemed before, and the result is not to be had any more. */
  | { readonly state: 'used' }

const pollMs = 250
const longestPollMs = 8_000

/** `POST login/end`: authorization response → code exchange → session cookies. */
export function loginEnd(deps: LoginEndDeps): RequestHandler {
  const { pendingLogins, authorizationServer, sessions, cookies, clock, logger } = deps
  const { perform } = createLoginPerformer(deps)
  return async (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const { state, iss, result } = parseAuthorizationResponse(parametersOf(req))
    const pending = pendingLogins.find(cookieHeader, state)
    if (pending === undefined) {
      if ('error' in result) throw new TokenHandlerError('unknown_state')
      sendJson(res, 200, sessionAnswer(await liveSession(cookieHeader), clock))
      return
    }
    try {
      await authorizationServer.checkIssuer(iss)
      if ('error' in result) {
        logger.info({ event: 'authorization_refused', oauthError: result.error }, 'The login ended with an error.')
        throw authorizationError(result.error)
      }
      const outcome = await perform(pending, result.code, iss, cookieHeader)
      if (outcome.state === 'used') {
        const session = await liveSession(cookieHeader)
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

  /** A callback that is reloaded, or come back to, finds the session that it made. */
  async function liveSession(cookieHeader: string | undefined): Promise<LiveSession> {
    const session = await sessions.judge(cookieHeader)
    if (session.state === 'unavailable') throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    if (session.state !== 'live') throw new TokenHandlerError('unknown_state')
    return session
  }
}

/** Trouble that passes keeps the pending login, everything else ends it. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof TokenHandlerError)) return true
  return error.retryAfterSeconds === undefined
}

interface LoginPerformer {
  readonly perform: (
    pending: PendingLogin,
    code: string,
    iss: string | undefined,
    cookieHeader: string | undefined,
  ) => Promise<Outcome>
}

/** Redeems a code once, however often and wherever the login end is posted. */
function createLoginPerformer(deps: LoginEndDeps): LoginPerformer {
  const { options, names, authorizationServer, sessions, cookies, ledger, background, logger } = deps
  const { absoluteSeconds, idleSeconds } = options.session
  const { issuer } = options.authorizationServer
  const running = new Map<string, Promise<Outcome>>()

  async function claim(
    pending: PendingLogin,
    code: string,
    iss: string | undefined,
    cookieHeader: string | undefined,
  ): Promise<Outcome> {
    for (let waitedMs = 0; ; waitedMs += pollMs) {
      const claimed = await ledger.claimLogin(pending.id)
      switch (claimed.state) {
        case 'claimed': {
          try {
            const generation = await redeem(pending, code, iss)
            await ledger.settleLogin(pending.id, sealUnder(pending.key, JSON.stringify(generation)))
            background.follow('end of replaced sessions', endReplaced(cookieHeader))
            return { state: 'session', generation, idleSecondsLeft: idleSeconds }
          } catch (error) {
            await ledger.settleLogin(pending.id, undefined)
            throw error
          }
        }
        case 'settled':
          return repeat(pending, claimed.outcome)
        case 'used':
          return { state: 'used' }
        case 'unknown':
          throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
        case 'pending':
          if (waitedMs >= longestPollMs) throw new TokenHandlerError('login_pending', { retryAfterSeconds: 2 })
          await sleep(pollMs, undefined, { ref: false })
      }
    }
  }

  /** The record is written before the code is redeemed, so that no session exists that the ledger does not know (row 1). */
  async function redeem(pending: PendingLogin, code: string, iss: string | undefined): Promise<Generation> {
    const sid = randomBytes(16).toString('base64url')
    const begun = await ledger.begin(sid, { absoluteSeconds, idleSeconds })
    if (begun.state === 'unknown') throw new TokenHandlerError('store_unavailable')
    try {
      const tokens = await authorizationServer.exchangeCode(code, iss, pending)
      try {
        const sealed = cookies.seal({
          sid,
          startedAt: begun.startedAt,
          tokens,
          nonce: pending.nonce,
          requestedScope: pending.scope ?? options.authorizationServer.scope,
        })
        if (!sealed.fits) {
          logger.error({ event: 'token_too_large', size: sealed.size }, 'The tokens do not fit into cookies.')
          throw new TokenHandlerError('token_too_large', { detail: `Over budget: ${sealed.size}.` })
        }
        const completed = await ledger.complete(identityOf(sealed.generation.claims, issuer))
        if (completed.state === 'live') {
          const { subjectHash } = identityOf(sealed.generation.claims, issuer)
          logger.info({ event: 'session_started', security: true, subject: subjectHash }, 'Somebody logged in.')
          return sealed.generation
        }
        throw new TokenHandlerError(completed.state === 'ended' ? 'session_ended' : 'store_unavailable')
      } catch (error) {
        authorizationServer.revoke(tokens)
        throw error
      }
    } catch (error) {
      await ledger.discard(sid)
      throw error
    }
  }

  /** A repeated login end gets what the first one got, as far as the session still stands there. */
  async function repeat({ key }: PendingLogin, sealedOutcome: string): Promise<Outcome> {
    const text = openUnder(key, sealedOutcome)
    if (text === undefined) return { state: 'used' }
    const generation = JSON.parse(text) as Generation
    const judgement = await ledger.show(sessions.shown(generation.claims, 'look', false))
    if (judgement.state === 'unknown') throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    if (judgement.state === 'current') {
      return { state: 'session', generation, idleSecondsLeft: judgement.idleSecondsLeft }
    }
    const newest =
      judgement.state === 'successors' ? sessions.openSuccessors(generation.claims, judgement.blobs) : undefined
    if (newest === undefined) return { state: 'used' }
    return { state: 'session', generation: { ...newest, id: newest.id ?? generation.id }, idleSecondsLeft: undefined }
  }

  /** The session that this browser had ends softly: its refresh token goes, its access cookie runs out. */
  async function endReplaced(cookieHeader: string | undefined): Promise<void> {
    const shown = sessions.open(cookieHeader)
    if (shown !== undefined && 'claims' in shown) {
      const refreshToken = await sessions.newestRefreshToken(shown.claims)
      if (refreshToken !== undefined) authorizationServer.revoke({ refreshToken })
    }
    for (const sid of readSids(cookieHeader, names)) await sessions.end(sid, 'replaced', false)
  }

  return {
    perform(pending, code, iss, cookieHeader) {
      let outcome = running.get(pending.id)
      if (outcome === undefined) {
        outcome = claim(pending, code, iss, cookieHeader).finally(() => running.delete(pending.id))
        running.set(pending.id, outcome)
        // A client that hangs up does not stop the exchange; its error is reported by whoever waits for it.
        background.follow(
          'login',
          outcome.catch(() => undefined),
        )
      }
      return outcome
    },
  }
}
