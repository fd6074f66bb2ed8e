import { isInstant, protectedHeader, unverifiedPayload } from './id-token.ts'
import { isSignedBy } from './signature.ts'
import type { JwkSet } from './signing-keys.ts'

export interface SignedResponseContext {
  readonly issuer: string
  readonly clientId: string
  /** Signature algorithms that are accepted. */
  readonly algorithms: readonly string[]
  /** Seconds since 1970. */
  readonly now: number
  readonly clockSkewSeconds: number
  /** The authorization server's keys. @throws when they cannot be had. */
  readonly keysFor: (kid: string | undefined) => Promise<JwkSet>
}

/**
 * Judges an authorization response that is a JWT (JARM sections 2.1 and 2.4), signed and not encrypted. Its parameters are
 * judged elsewhere, as those of any response.
 * @returns What is wrong, fit for a log, or `undefined`.
 * @throws what `keysFor` throws.
 */
export async function signedResponseProblem(jwt: string, context: SignedResponseContext): Promise<string | undefined> {
  const { issuer, clientId, algorithms, now, clockSkewSeconds } = context
  const header = protectedHeader(jwt)
  const claims = unverifiedPayload(jwt)
  if (header === undefined || claims === undefined) return 'it is no JWT'
  const { alg, typ, kid } = header
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'alg is not one of the configured ones'
  // RFC 8725 section 3.11: at+jwt, logout+jwt and their like are other kinds of token.
  if (typ !== undefined && (typeof typ !== 'string' || typ.includes('+'))) return 'typ names another kind of token'
  const { iss, aud, exp, nbf } = claims
  if (iss !== issuer) return 'iss is somebody else'
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (audiences.length === 0 || audiences.some((one) => one !== clientId)) return 'aud holds somebody else'
  if (!isInstant(exp) || (nbf !== undefined && !isInstant(nbf))) return 'a time is not an instant'
  if (exp <= now - clockSkewSeconds) return 'it is expired'
  if ((nbf ?? 0) > now + clockSkewSeconds) return 'it is from the future'
  const keys = await context.keysFor(typeof kid === 'string' ? kid : undefined)
  return (await isSignedBy(jwt, keys, algorithms)) ? undefined : 'the signature is not right'
}
