import {
  readSessionCookie,
  sessionIdentity,
  type AccessCookieClaims,
  type CookieNames,
  type CookieSealer,
  type ErrorCode,
  type Rules,
} from '@token-handler/shared'

export type AccessToken =
  | { readonly ok: true; readonly claims: AccessCookieClaims }
  | { readonly ok: false; readonly code: Extract<ErrorCode, `session_${string}` | 'access_token_expired'> }

export interface AccessTokenDeps {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf'>
}

const sessionMissing: AccessToken = { ok: false, code: 'session_missing' }
const accessTokenExpired: AccessToken = { ok: false, code: 'access_token_expired' }
const sessionEnded: AccessToken = { ok: false, code: 'session_ended' }

/**
 * Opens the access cookie of the raw Cookie header, or says what the SPA should do: log in (`session_missing`,
 * `session_ended`), or refresh and repeat (`access_token_expired`). Binding, expiry and end of the session are judged on
 * every request.
 */
export function openAccessToken(cookieHeader: string | undefined, deps: AccessTokenDeps): AccessToken {
  const { names, sealer, rules } = deps
  const cookie = readSessionCookie<AccessCookieClaims>(cookieHeader, 'access-token', names.accessToken, {
    names,
    sealer,
  })
  if (cookie.ok) return rules.endOf(sessionIdentity(cookie.claims)) === undefined ? cookie : sessionEnded
  return refusals[cookie.reason]
}

const refusals = {
  no_session: sessionMissing,
  unusable: sessionMissing,
  absent: accessTokenExpired,
  expired: accessTokenExpired,
}
