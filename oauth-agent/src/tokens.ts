import { idTokenProblem, type IdTokenClaims, type IdTokenContext } from './id-token.ts'
import type { TokenAnswer } from './token-answer.ts'

/** Tokens of one token answer, verified as far as they can be. */
export interface Tokens {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly idToken: IdToken | undefined
  /** `undefined`: the server did not say. */
  readonly expiresInSeconds: number | undefined
  /** Granted scope; `undefined` means as asked for (RFC 6749 section 5.1), empty means none. */
  readonly scope: string | undefined
}

export interface IdToken {
  readonly raw: string
  readonly claims: IdTokenClaims
}

/** A login has an ID token (OpenID Connect Core section 3.1.3.3). */
export type LoginTokens = Tokens & { readonly idToken: IdToken }

/** What must be revoked when an answer is not used. */
export interface IssuedTokens {
  readonly accessToken?: string | undefined
  readonly refreshToken?: string | undefined
}

/**
 * Judges an answer that the protocol library accepted.
 * @param claims Those of the verified ID token, if there is one.
 * @throws Error that says which rule is broken; it goes to the log.
 */
export function verifyTokens(
  { accessToken, refreshToken, idToken: raw, expiresInSeconds, scope }: TokenAnswer,
  claims: Readonly<Record<string, unknown>> | undefined,
  context: IdTokenContext,
): Tokens {
  if (accessToken === undefined) throw new Error('the access token has characters that no header can carry')
  const tokens = { accessToken, refreshToken, expiresInSeconds, scope }
  if (raw === undefined || claims === undefined) return { ...tokens, idToken: undefined }
  const problem = idTokenProblem({ ...context, idToken: raw, claims, accessToken })
  if (problem !== undefined) throw new Error(`the ID token is refused: ${problem}`)
  return { ...tokens, idToken: { raw, claims: claims as IdTokenClaims } }
}
