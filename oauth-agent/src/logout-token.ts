import { isInstant, protectedHeader } from './id-token.ts'
import { isSignedBy, type SignedMessageContext } from './signature.ts'
import type { JwkSet } from './signing-keys.ts'

/** Whose sessions the authorization server ended (OpenID Connect Back-Channel Logout 1.0 section 2.4). At least one is there. */
export interface LogoutToken {
  readonly jti: string
  /** Session of the authorization server. */
  readonly sid?: string | undefined
  readonly sub?: string | undefined
}

export type VerifiedLogoutToken =
  | { readonly ok: true; readonly token: LogoutToken }
  /** `problem` is fit for a log. `isTemporary`: the keys could not be had, so nobody knows. */
  | { readonly ok: false; readonly problem: string; readonly isTemporary: boolean }

/** A logout token is sent when it is made; together with the clock skew this is less than its id is remembered. */
export const longestLogoutTokenAgeSeconds = 300
const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * Verifies a logout token (section 2.6). Cheap checks come first, so that what is no logout token of this server makes
 * nobody ask for keys.
 */
export async function verifyLogoutToken(text: string, context: SignedMessageContext): Promise<VerifiedLogoutToken> {
  const header = protectedHeader(text)
  const problem = headerProblem(header, context)
  if (problem !== undefined) return refused(problem)
  const claims = payloadOf(text)
  const wrongClaim = claims === undefined ? 'the payload is no JSON object' : claimProblem(claims, context)
  if (claims === undefined || wrongClaim !== undefined) return refused(wrongClaim ?? '')
  const kid = typeof header?.['kid'] === 'string' ? header['kid'] : undefined
  let keys: JwkSet
  try {
    keys = await context.keysFor(kid)
  } catch {
    return { ok: false, problem: 'the keys of the authorization server cannot be had', isTemporary: true }
  }
  if (!(await isSignedBy(text, keys, context.algorithms))) return refused('the signature is not right')
  const { jti, sid, sub } = claims as unknown as LogoutToken
  return { ok: true, token: { jti, sid, sub } }
}

function refused(problem: string): VerifiedLogoutToken {
  return { ok: false, problem, isTemporary: false }
}

type Members = Readonly<Record<string, unknown>>

function headerProblem(header: Members | undefined, { algorithms }: SignedMessageContext): string | undefined {
  if (header === undefined) return 'it is no JWT'
  const { alg, typ } = header
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'alg is not one of the configured ones'
  // Section 2.4 recommends logout+jwt; servers that are older than it send JWT, or none. Any other is another kind of token.
  if (typ !== undefined && !(typeof typ === 'string' && /^(?:application\/)?(?:logout\+jwt|jwt)$/i.test(typ))) {
    return 'typ names another kind of token'
  }
  return undefined
}

function claimProblem(
  claims: Members,
  { issuer, clientId, now, clockSkewSeconds }: SignedMessageContext,
): string | undefined {
  const { iss, aud, iat, exp, nbf, jti, events, sid, sub } = claims
  if (iss !== issuer) return 'iss is somebody else'
  if (aud !== clientId && !(Array.isArray(aud) && aud.includes(clientId))) return 'aud is somebody else'
  // An ID token has a nonce, a logout token must not (section 2.4), so that neither passes for the other.
  if (Object.hasOwn(claims, 'nonce')) return 'nonce is there'
  if (!isObject(events) || !Object.hasOwn(events, logoutEvent) || !isObject(events[logoutEvent])) {
    return 'events does not name a logout'
  }
  if (!isInstant(iat) || !isInstant(exp) || (nbf !== undefined && !isInstant(nbf))) return 'a time is not an instant'
  if (iat > now + clockSkewSeconds || (nbf ?? 0) > now + clockSkewSeconds) return 'it is from the future'
  if (iat < now - clockSkewSeconds - longestLogoutTokenAgeSeconds) return 'it was issued too long ago'
  if (exp <= now - clockSkewSeconds) return 'it is expired'
  if (!isText(jti)) return 'jti is missing'
  if (sid === undefined && sub === undefined) return 'neither sid nor sub is there'
  if ((sid !== undefined && !isText(sid)) || (sub !== undefined && !isText(sub))) return 'sid or sub is not a text'
  return undefined
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 1024
}

function payloadOf(text: string): Members | undefined {
  const parts = text.split('.')
  if (parts.length !== 3) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
