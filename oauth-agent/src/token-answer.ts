/** What a token endpoint's answer holds (RFC 6749 section 5.1), as far as it can be used at all. */
export interface TokenAnswer {
  readonly accessToken: string | undefined
  readonly refreshToken: string | undefined
  readonly idToken: string | undefined
  /** Positive, or `undefined` when the answer has no usable one. */
  readonly expiresInSeconds: number | undefined
  /** `undefined` when the answer does not say; empty when it grants none, or says what is no scope. */
  readonly scope: string | undefined
  /** The same answer for the protocol library, without the members that it would refuse the whole for. */
  readonly text: string
}

/** Fits a header field (RFC 6750 section 2.1 asks for less): no space, no control character, nothing beyond ASCII. */
const tokenCharacters = /^[\x21-\x7E]+$/
const scopeCharacters = /^[\x20\x21\x23-\x5B\x5D-\x7E]*$/

/**
 * Reads a token answer once, before the library judges it: tokens that were issued must be revocable even when the rest is
 * refused, and a strange `expires_in` or an empty refresh token is no reason to lose a session.
 * @returns `undefined` when the text is no JSON object.
 */
export function parseTokenAnswer(text: string): TokenAnswer | undefined {
  const members = jsonObject(text)
  if (members === undefined) return undefined
  const { access_token, refresh_token, id_token, expires_in, scope, token_type } = members
  const refreshToken = tokenOf(refresh_token)
  const idToken = tokenOf(id_token)
  const grantedScope = scopeOf(scope)
  return {
    accessToken: tokenOf(access_token),
    refreshToken,
    idToken,
    expiresInSeconds: positiveSeconds(expires_in),
    scope: grantedScope,
    text: JSON.stringify({
      access_token,
      token_type,
      refresh_token: refreshToken,
      id_token: idToken,
      scope: grantedScope,
    }),
  }
}

/** The `error` of an error answer (RFC 6749 section 5.2), if it has a legal one. */
export function oauthErrorOf(text: string): string | undefined {
  const error = jsonObject(text)?.['error']
  return typeof error === 'string' && /^[\x20-\x21\x23-\x5B\x5D-\x7E]{1,60}$/.test(error) ? error : undefined
}

/** The text for the library without the ID token, for when the keys to verify it cannot be had. */
export function withoutIdToken({ text }: TokenAnswer): string {
  const { id_token: _, ...members } = JSON.parse(text) as Record<string, unknown>
  return JSON.stringify(members)
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function tokenOf(value: unknown): string | undefined {
  return typeof value === 'string' && tokenCharacters.test(value) ? value : undefined
}

/** Only an answer that is silent grants what was asked for (RFC 6749 section 5.1). */
function scopeOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string' || !scopeCharacters.test(value)) return ''
  return value
    .split(' ')
    .filter((token) => token !== '')
    .join(' ')
}

function positiveSeconds(value: unknown): number | undefined {
  const seconds = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds >= 1 ? Math.floor(seconds) : undefined
}
