import type { Request, RequestHandler } from 'express'
import { identityHash, TokenHandlerError, type Ledger, type Logger, type RuleKey } from '@token-handler/shared'
import { sendJson } from './answers.ts'
import type { Recorder } from './audit-trail.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { Background } from './background.ts'
import type { LogoutToken } from './logout-token.ts'
import type { OAuthAgentOptions } from './options.ts'
import { parameter, parametersOf } from './parameters.ts'

export interface BackchannelLogoutDeps {
  readonly options: OAuthAgentOptions
  readonly authorizationServer: Pick<AuthorizationServer, 'verifyLogoutToken'>
  readonly ledger: Pick<Ledger, 'addRule' | 'claimLogoutToken' | 'settleLogoutToken'>
  readonly background: Pick<Background, 'persist'>
  readonly audit: Recorder
  readonly logger: Logger
}

const formType = /^application\/x-www-form-urlencoded[ \t]*(?:;|$)/i

/**
 * `POST backchannel-logout` (OpenID Connect Back-Channel Logout 1.0 section 2.5): the authorization server, not a browser,
 * says that sessions are over. Answers 200 once that is written for every replica, and 400 `invalid_logout_token` to
 * whatever is wrong. Where it cannot be written it answers 503, heeds the end in this process and goes on trying.
 */
export function backchannelLogout(deps: BackchannelLogoutDeps): RequestHandler {
  const { authorizationServer, background, audit, logger } = deps
  return async (req, res) => {
    const verified = await authorizationServer.verifyLogoutToken(logoutTokenOf(req))
    if (!verified.ok) {
      const { problem, isTemporary } = verified
      logger.warn({ event: 'logout_token_refused', security: true, problem }, 'A logout token was refused.')
      audit.record({ event: 'backchannel_logout', outcome: 'refused', reason: 'invalid_logout_token' })
      if (isTemporary) throw new TokenHandlerError('authorization_server_error', { retryAfterSeconds: 5 })
      throw invalid(problem)
    }
    const { token } = verified
    const seen: FirstSeen = { at: Infinity }
    const ended = await endSessions(token, deps, seen)
    const about = token.sid === undefined ? { target: 'subject', subject: token.sub } : { target: 'session' }
    const record = { event: 'backchannel_logout', subject: token.sub, ...about } as const
    switch (ended) {
      case 'used':
        logger.warn({ event: 'logout_token_replayed', security: true }, 'A logout token came again.')
        audit.record({ ...record, outcome: 'refused', reason: 'replayed' })
        throw invalid('jti was used before.')
      case 'unknown': {
        audit.record({ ...record, outcome: 'pending', reason: 'store_unavailable' })
        const attempt = async (): Promise<boolean> => (await endSessions(token, deps, seen)) !== 'unknown'
        background.persist('back-channel logout', attempt, { longestPauseMs: 2_000 })
        throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
      }
      case 'ended':
        logger.info({ event: 'backchannel_logout', security: true, by: about.target }, 'Sessions were ended.')
        audit.record({ ...record, outcome: 'success' })
        sendJson(res, 200, {})
    }
  }
}

function logoutTokenOf(req: Request): string {
  if (!formType.test(req.headers['content-type'] ?? '')) throw invalid('The request is no form.')
  try {
    const text = parameter(parametersOf(req), 'logout_token')
    if (text !== undefined) return text
  } catch (error) {
    if (error instanceof TokenHandlerError) throw invalid(error.detail ?? error.message)
    throw error
  }
  throw invalid('logout_token is missing.')
}

function invalid(detail: string): TokenHandlerError {
  return new TokenHandlerError('invalid_logout_token', { detail })
}

/** When a logout token came, on the ledger's clock: it does not move while the store is away, for who logs in meanwhile is in. */
interface FirstSeen {
  at: number
}

/**
 * Sessions that began before the token was seen first are over: those that carry its `sid`, else those of its `sub`. A
 * `sub` beside a `sid` also ends the subject's sessions whose ID token named none.
 */
async function endSessions(
  { jti, sid, sub }: LogoutToken,
  { options, ledger }: Pick<BackchannelLogoutDeps, 'options' | 'ledger'>,
  seen: FirstSeen,
): Promise<'ended' | 'used' | 'unknown'> {
  const { issuer } = options.authorizationServer
  const id = identityHash(issuer, jti)
  const claim = await ledger.claimLogoutToken(id)
  if (claim.state === 'used') return 'used'
  const keys: RuleKey[] = [
    ...(sid === undefined ? [] : [`asid:${identityHash(issuer, sid)}` as const]),
    ...(sub === undefined
      ? []
      : [`${sid === undefined ? 'sub' : 'sub-without-sid'}:${identityHash(issuer, sub)}` as const]),
  ]
  let isWritten = claim.state === 'claimed'
  for (const key of keys) {
    const added = await ledger.addRule((now) => {
      // Clocks count whole milliseconds: what began in the same one is over, too.
      seen.at = Math.min(seen.at, claim.state === 'claimed' ? claim.claimedAt : now)
      const before = seen.at + 1
      const expiresAt = before + options.session.absoluteSeconds * 1000
      return { key, before, reason: 'backchannel_logout', expiresAt }
    })
    isWritten &&= added.state === 'added'
  }
  if (!isWritten) return 'unknown'
  // Should this be lost, the same token ends the same sessions once more, and no others.
  await ledger.settleLogoutToken(id)
  return 'ended'
}
