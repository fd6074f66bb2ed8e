import {
  readSessionCookie,
  sessionIdentity,
  type AccessCookieClaims,
  type CookieNames,
  type CookieSealer,
  type ErrorCode,
  type Rules,
} from '@token-handler/shared'
import type { Refusal } from './refusals.ts'

export type AccessToken =
  | { readonly ok: true; readonly claims: AccessCookieClaims; /** The key that sealed it. */ readonly kid: string }
  | {
      readonly ok: false
      readonly code: Extract<ErrorCode, `session_${string}` | 'access_token_expired' | 'store_unavailable'>
      /** Whose session was ended. */
      readonly session?: AccessCookieClaims
      readonly log?: NonNullable<Refusal['log']>
    }

export interface AccessTokenDeps {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf' | 'areStale'>
}

const sessionMissing: AccessToken = { ok: false, code: 'session_missing' }
const accessTokenExpired: AccessToken = { ok: false, code: 'access_token_expired' }
// A refresh heals it where the clock was set back, and nothing but the operator where it is behind the agent's.
const sealedAhead: AccessToken = {
  ...accessTokenExpired,
  log: { clock: 'The access cookie was sealed more than a minute from now: compare the clocks of all processes.' },
}
const rulesUnknown: AccessToken = { ok: false, code: 'store_unavailable' }

/**
 * Opens the access cookie of the raw Cookie header, or says what the SPA should do: log in (`session_missing`,
 * `session_ended`), refresh and repeat (`access_token_expired`), or come back later, where rules may have been missed for
 * too long (`store_unavailable`). Binding, expiry and end of the session are judged on every request.
 */
export function openAccessToken(cookieHeader: string | undefined, deps: AccessTokenDeps): AccessToken {
  const { names, sealer, rules } = deps
  const cookie = readSessionCookie<AccessCookieClaims>(cookieHeader, 'access-token', names.accessToken, {
    names,
    sealer,
  })
  if (!cookie.ok) return refusals[cookie.reason]
  if (rules.endOf(sessionIdentity(cookie.claims, cookie.kid)) !== undefined) {
    return { ok: false, code: 'session_ended', session: cookie.claims }
  }
  return rules.areStale() ? rulesUnknown : cookie
}

const refusals = {
  no_session: sessionMissing,
  unusable: sessionMissing,
  absent: accessTokenExpired,
  expired: accessTokenExpired,
  not_yet_valid: sealedAhead,
}
