import { isForUsAlone, isInstant, namesAnotherKind, protectedHeader, unverifiedPayload } from './id-token.ts'
import { isSignedBy, type SignedMessageContext } from './signature.ts'

/**
 * Judges an authorization response that is a JWT (JARM sections 2.1 and 2.4), signed and not encrypted. Its parameters are
 * judged elsewhere, as those of any response.
 * @returns What is wrong, fit for a log, or `undefined`.
 * @throws what `keysFor` throws.
 */
export async function signedResponseProblem(jwt: string, context: SignedMessageContext): Promise<string | undefined> {
  const { issuer, clientId, algorithms, now, clockSkewSeconds } = context
  const header = protectedHeader(jwt)
  const claims = unverifiedPayload(jwt)
  if (header === undefined || claims === undefined) return 'it is no JWT'
  const { alg, typ, kid } = header
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'alg is not one of the configured ones'
  if (namesAnotherKind(typ)) return 'typ names another kind of token'
  const { iss, aud, exp, nbf } = claims
  if (iss !== issuer) return 'iss is somebody else'
  if (!isForUsAlone(aud, clientId)) return 'aud holds somebody else'
  if (!isInstant(exp) || (nbf !== undefined && !isInstant(nbf))) return 'a time is not an instant'
  if (exp <= now - clockSkewSeconds) return 'it is expired'
  if ((nbf ?? 0) > now + clockSkewSeconds) return 'it is from the future'
  const keys = await context.keysFor(typeof kid === 'string' ? kid : undefined)
  return (await isSignedBy(jwt, keys, algorithms)) ? undefined : 'the signature is not right'
}
