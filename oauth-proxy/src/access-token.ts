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
  | {
      readonly ok: false
      readonly code: Extract<ErrorCode, `session_${string}` | 'access_token_expired'>
      /** Whose session was ended. */
      readonly session?: AccessCookieClaims
    }

export interface AccessTokenDeps {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf'>
}

const sessionMissing: AccessToken = { ok: false, code: 'session_missing' }
const accessTokenExpired: AccessToken = { ok: false, code: 'access_token_expired' }

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
  if (!cookie.ok) return refusals[cookie.reason]
  if (rules.endOf(sessionIdentity(cookie.claims)) === undefined) return cookie
  return { ok: false, code: 'session_ended', session: cookie.claims }
}

const refusals = {
  no_session: sessionMissing,
  unusable: sessionMissing,
  absent: accessTokenExpired,
  expired: accessTokenExpired,
}
