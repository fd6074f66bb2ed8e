import { describeError, type Logger } from '@token-handler/shared'
import { unverifiedPayload } from './id-token.ts'
import { refusalOf, type Transcript } from './recorded-call.ts'
import type { IssuedTokens, Tokens } from './tokens.ts'

/** Whose session is refreshed; a refreshed ID token must say the same (OpenID Connect Core section 12.2). */
export interface RefreshedSession {
  readonly refreshToken: string
  readonly subject: string
  /** Whether a nonce is the login's; a refreshed ID token need not carry one. */
  readonly isNonce: (nonce: unknown) => boolean
  readonly parameters: URLSearchParams
  /** Whether the refresh token may still be sent; asked at the last moment. */
  readonly mayLeave: () => boolean
}

/** What became of a refresh request; rows 4 to 8 of docs/sessions.md. */
export type RefreshAnswer =
  | { readonly outcome: 'granted'; readonly tokens: Tokens }
  /** Row 5: surely not processed. */
  | { readonly outcome: 'not_processed'; readonly retryAfterSeconds: number | undefined }
  /** Row 6: nobody knows. */
  | { readonly outcome: 'unknown' }
  /** Row 8. The refresh token is dead, or alive and no good without the user. */
  | { readonly outcome: 'refused'; readonly isAlive: boolean }
  /** Row 13: the answer is about somebody else, or not to be trusted. */
  | { readonly outcome: 'not_this_session'; readonly revoke: IssuedTokens }

/**
 * Whether tokens are this session's. An ID token that could not be verified for want of keys has to name the same user all
 * the same.
 */
export function isOfSession(
  { idToken }: Tokens,
  { tokens }: Transcript,
  { subject, isNonce }: RefreshedSession,
  issuer: string,
): boolean {
  const claims =
    idToken?.claims ?? (tokens?.idToken === undefined ? undefined : (unverifiedPayload(tokens.idToken) ?? {}))
  if (claims === undefined) return true
  return claims['iss'] === issuer && claims['sub'] === subject && isNonce(claims['nonce'])
}

/** Errors that only a login mends (OpenID Connect Core section 3.1.2.6), whatever the refresh token is. */
const userNeeded = new Set(['interaction_required', 'login_required', 'consent_required'])

/** What a call that did not lead to tokens means for the refresh token that it carried. */
export function refreshFailure({ answer, tokens, failure }: Transcript, error: unknown, logger: Logger): RefreshAnswer {
  const fields = { status: answer?.status, error: describeError(error) }
  if (answer === undefined) {
    logger.warn({ event: 'refresh_unanswered', ...fields }, 'The refresh got no answer.')
    return failure?.isUnsent === true
      ? { outcome: 'not_processed', retryAfterSeconds: undefined }
      : { outcome: 'unknown' }
  }
  const oauthError = refusalOf({ answer })
  if (oauthError === 'invalid_grant') return { outcome: 'refused', isAlive: false }
  if (oauthError !== undefined && userNeeded.has(oauthError) && answer.status < 429) {
    return { outcome: 'refused', isAlive: true }
  }
  // A success whose content is not to be trusted: nothing of it is used (OpenID Connect Core section 12.2).
  if (tokens?.accessToken !== undefined) {
    logger.error({ event: 'refresh_answer_refused', ...fields }, 'The refreshed tokens are not trusted.')
    return { outcome: 'not_this_session', revoke: tokens }
  }
  logger.warn({ event: 'refresh_failed', ...fields, oauthError }, 'The refresh failed.')
  const { status, retryAfterSeconds } = answer
  return status === 429 || (oauthError !== undefined && (status < 500 || status === 503))
    ? { outcome: 'not_processed', retryAfterSeconds }
    : { outcome: 'unknown' }
}
