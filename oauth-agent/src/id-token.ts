import { createHash } from 'node:crypto'
import type { AuthorizationServerOptions, RequiredAuthentication } from './options.ts'

/** Claims of a verified ID token (OpenID Connect Core section 2). */
export interface IdTokenClaims {
  readonly sub: string
  readonly sid?: unknown
  readonly acr?: unknown
  readonly amr?: unknown
  readonly auth_time?: unknown
  readonly nonce?: unknown
  readonly [claim: string]: unknown
}

/** What an ID token is judged by. */
export interface IdTokenContext {
  readonly clientId: string
  /** Seconds since 1970. */
  readonly now: number
  readonly clockSkewSeconds: number
}

export interface IdTokenChecks extends IdTokenContext {
  readonly idToken: string
  readonly claims: Readonly<Record<string, unknown>>
  /** The access token that came with it. */
  readonly accessToken: string
}

/** An ID token is made when it is asked for; an older one is a replay. */
const longestAgeSeconds = 600
/** Year 5138: beyond it a date is an attack on arithmetic. */
const latestInstant = 1e11

/**
 * The checks of OpenID Connect Core section 3.1.3.7 that the protocol library leaves out (signature, issuer, nonce and
 * algorithm are the library's; so are the times, but not where the instant that they are judged by comes from the answer).
 * @returns What is wrong, fit for a log, or `undefined`.
 */
export function idTokenProblem({
  idToken,
  claims,
  accessToken,
  clientId,
  now,
  clockSkewSeconds,
}: IdTokenChecks): string | undefined {
  const header = protectedHeader(idToken)
  if (header === undefined) return 'header is not JSON'
  if (namesAnotherKind(header['typ'])) return 'typ names another kind of token'
  const { sub, aud, azp, exp, nbf, iat, at_hash: atHash, auth_time: authTime } = claims
  if (typeof sub !== 'string' || !/^[\x20-\x7E]{1,255}$/.test(sub)) return 'sub is not 1 to 255 ASCII characters'
  if (!isForUsAlone(aud, clientId)) return 'aud holds somebody else'
  if (azp !== undefined && azp !== clientId) return 'azp is somebody else'
  if (!isInstant(exp)) return 'exp is not an instant'
  if (exp <= now - clockSkewSeconds) return 'exp is past'
  if (nbf !== undefined && !(isInstant(nbf) && nbf <= now + clockSkewSeconds)) return 'nbf is in the future'
  if (!isInstant(iat)) return 'iat is not an instant'
  if (iat > now + clockSkewSeconds) return 'iat is in the future'
  if (iat < now - clockSkewSeconds - longestAgeSeconds) return 'iat is too long ago'
  if (authTime !== undefined && !isInstant(authTime)) return 'auth_time is not an instant'
  if (atHash !== undefined && atHash !== leftHalfHash(header['alg'], accessToken)) {
    return 'at_hash does not match the access token'
  }
  return undefined
}

/** What a login asked for and has to have got. */
export interface WantedAuthentication {
  /** One of these, when given. */
  readonly acrValues?: readonly string[] | undefined
  readonly maxAgeSeconds?: number | undefined
  /** Seconds since 1970, when the login was started. */
  readonly startedAt: number
}

/** Whether a login came to the authentication that it asked for, and that every login has to have. */
export function isStrongEnough(
  claims: IdTokenClaims,
  wanted: WantedAuthentication,
  {
    requiredAuthentication,
    clockSkewSeconds,
  }: Pick<AuthorizationServerOptions, 'requiredAuthentication' | 'clockSkewSeconds'>,
): boolean {
  return (
    isAuthenticatedAsWanted(claims, wanted, clockSkewSeconds) &&
    (requiredAuthentication === undefined || isAuthenticatedAsRequired(claims, requiredAuthentication))
  )
}

/**
 * Whether the user's authentication is what was asked for (Core section 3.1.2.1, RFC 9470 section 5). Its age is judged at
 * the start of the login: a user who reads the consent page for long is not made to log in again.
 */
function isAuthenticatedAsWanted(
  claims: IdTokenClaims,
  { acrValues, maxAgeSeconds, startedAt }: WantedAuthentication,
  clockSkewSeconds: number,
): boolean {
  if (acrValues !== undefined && !acrValues.some((value) => value === claims.acr)) return false
  if (maxAgeSeconds === undefined) return true
  return typeof claims.auth_time === 'number' && claims.auth_time + maxAgeSeconds + clockSkewSeconds >= startedAt
}

/** Whether the user's authentication is as strong as every login has to be. */
function isAuthenticatedAsRequired(claims: IdTokenClaims, { acr, amr }: RequiredAuthentication): boolean {
  if (acr.length > 0 && !acr.some((value) => value === claims.acr)) return false
  const used: readonly unknown[] = Array.isArray(claims.amr) ? claims.amr : []
  return amr.every((method) => used.includes(method))
}

/** The protected header of a JWS (RFC 7515 section 3.1), not verified; `undefined` when it is none. */
export function protectedHeader(token: string): Readonly<Record<string, unknown>> | undefined {
  return jsonObject(token.split('.', 1)[0])
}

/** The payload of a JWS, not verified; `undefined` when it is none. */
export function unverifiedPayload(token: string): Readonly<Record<string, unknown>> | undefined {
  return jsonObject(token.split('.', 2)[1])
}

function jsonObject(encoded: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (encoded === undefined) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Whether `typ` is that of another kind of token: at+jwt, logout+jwt and their like (RFC 8725 section 3.11). */
export function namesAnotherKind(typ: unknown): boolean {
  return typ !== undefined && (typeof typ !== 'string' || typ.includes('+'))
}

/** Whether `aud` is this client and nobody besides (OpenID Connect Core section 3.1.3.7). */
export function isForUsAlone(aud: unknown, clientId: string): boolean {
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return audiences.length > 0 && audiences.every((one) => one === clientId)
}

/** Seconds since 1970 that can be reckoned with. */
export function isInstant(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < latestInstant
}

/** Left half of the hash that belongs to the signature algorithm (Core section 3.1.3.6). */
function leftHalfHash(algorithm: unknown, accessToken: string): string | undefined {
  const bits = typeof algorithm === 'string' && /^(?:RS|PS|ES)(256|384|512)$/.exec(algorithm)?.[1]
  const hash = createHash(`sha${typeof bits === 'string' ? bits : '512'}`)
    .update(accessToken, 'ascii')
    .digest()
  return hash.subarray(0, hash.length / 2).toString('base64url')
}
