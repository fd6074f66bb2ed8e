import { createHash } from 'node:crypto'
import type { ContextFacts } from './context-binding.ts'
import { chunkedCookieValues, cookieTag, readSids, type CookieNames } from './cookies.ts'
import type { Purpose } from './key-ring.ts'
import type { CookieSealer, RefusalReason, SealedClaims } from './sealed-cookie.ts'

/** Claims that every cookie of a session carries; one with another sid is refused wherever it comes from. */
export interface SessionClaims extends SealedClaims {
  readonly sid: string
}

/**
 * What the access cookie holds; the agent seals it, the proxy opens it. Names are short because every API call carries
 * them. Its `exp` is the end of the cookie: the earliest of token expiry, absolute deadline and the configured cap.
 */
export interface AccessCookieClaims extends SessionClaims {
  /** The access token, unless the ledger holds it. */
  readonly at?: string | undefined
  /** Where the ledger holds the access token, and the 256-bit key that opens it; see docs/sessions.md. */
  readonly held?: { readonly ref: string; readonly k: string }
  /** Start of the session in milliseconds on the ledger's clock; never changed by a refresh. */
  readonly sst: number
  /** Hash of issuer and subject; see {@link identityHash}. */
  readonly sub: string
  /** Hash of issuer and the authorization server's own session id, where the ID token had one. */
  readonly asid?: string
  /** Granted scope, space-separated (RFC 6749 section 3.3). */
  readonly scope?: string
  /** Authentication context of the login (OpenID Connect Core section 2). */
  readonly acr?: string
  /** Seconds since 1970 of the user's authentication. */
  readonly auth_time?: number
  /** ID-token claims that some route's policy names. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** Roles of the user that some route asks for. */
  readonly roles?: readonly string[]
  /** Where the login came from, if sessions are bound to it. */
  readonly ctx?: ContextFacts
}

/** A session's facts that rules ("sessions of X that started before T are over") are judged by. */
export interface SessionIdentity {
  readonly sid: string
  /** Milliseconds on the ledger's clock. */
  readonly startedAt: number
  readonly subjectHash: string
  readonly asSessionHash?: string | undefined
  /** The key that sealed what the session was shown with. */
  readonly kid?: string | undefined
}

/** @param kid The key that the access cookie was sealed under. */
export function sessionIdentity(claims: AccessCookieClaims, kid?: string): SessionIdentity {
  return { sid: claims.sid, startedAt: claims.sst, subjectHash: claims.sub, asSessionHash: claims.asid, kid }
}

/** 128-bit hash that stands for a subject or an authorization server's session without naming it. */
export function identityHash(issuer: string, value: string): string {
  return createHash('sha256')
    .update(JSON.stringify([issuer, value]))
    .digest()
    .subarray(0, 16)
    .toString('base64url')
}

type UntimelyReason = Extract<RefusalReason, 'expired' | 'not_yet_valid'>

export type SessionCookie<Claims extends SessionClaims> =
  | { readonly ok: true; readonly sid: string; readonly claims: Claims; readonly kid: string }
  /** No sid cookie. */
  | { readonly ok: false; readonly reason: 'no_session' }
  /** A sid cookie, but no cookie of this purpose beside it, or one past its time or before it. */
  | { readonly ok: false; readonly reason: 'absent' | UntimelyReason; readonly sid: string }
  /** Something is there and does not open, or does not belong to this sid, or contradicts itself. */
  | { readonly ok: false; readonly reason: 'unusable' }

/**
 * Finds the session's cookie of one purpose in the raw Cookie header. Of several values the one counts that opens and
 * carries the sid; none or two different ones mean that nobody is logged in.
 */
export function readSessionCookie<Claims extends SessionClaims>(
  cookieHeader: string | undefined,
  purpose: Purpose,
  nameOf: (tag: string) => string,
  { names, sealer }: { names: CookieNames; sealer: CookieSealer },
): SessionCookie<Claims> {
  const sids = readSids(cookieHeader, names)
  if (sids.length === 0) return { ok: false, reason: 'no_session' }
  let found: { sid: string; claims: Claims; kid: string; value: string } | undefined
  let untimely: { reason: UntimelyReason; sid: string } | undefined
  let unusable = false
  for (const sid of sids) {
    for (const value of chunkedCookieValues(cookieHeader, nameOf(cookieTag(sid)))) {
      const opened = sealer.open<Claims>(purpose, value)
      if (opened.ok && opened.claims.sid === sid) {
        if (found !== undefined && found.value !== value) return { ok: false, reason: 'unusable' }
        found = { sid, claims: opened.claims, kid: opened.kid, value }
      } else if (!opened.ok && (opened.reason === 'expired' || opened.reason === 'not_yet_valid')) {
        untimely = { reason: opened.reason, sid }
      } else unusable = true
    }
  }
  if (found !== undefined) return { ok: true, sid: found.sid, claims: found.claims, kid: found.kid }
  const [sid] = sids
  if (untimely !== undefined) return { ok: false, ...untimely }
  return unusable || sid === undefined || sids.length > 1
    ? { ok: false, reason: 'unusable' }
    : { ok: false, reason: 'absent', sid }
}
