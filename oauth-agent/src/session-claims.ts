import { createHash } from 'node:crypto'
import {
  epochSeconds,
  identityHash,
  toleratedAheadSeconds,
  type AuditEvent,
  type Clock,
  type ContextFacts,
  type HeldToken,
  type SessionClaims,
  type SessionIdentity,
} from '@token-handler/shared'

/**
 * What the refresh cookie holds: the facts of the session, and what makes this generation of it. Its `exp` is the absolute
 * deadline of the session.
 */
export interface RefreshCookieClaims extends SessionClaims {
  /** Generation; counts the refreshes. */
  readonly g: number
  /** Generation of the ID cookie in force; absent where that is of a release that did not tell. */
  readonly idg?: number
  /** The refresh token, if the authorization server gave one. */
  readonly rt?: string
  /** 256-bit key that opens the parked cookies of the next generation. */
  readonly k: string
  /** Seconds since 1970: end of the access cookie. */
  readonly ate: number
  /** Seconds: how long the access cookie lived when it was made. */
  readonly atl: number
  /** Lengths of the access and ID cookies' values in force; 0 is none. */
  readonly len: readonly [access: number, id: number]
  /** Start of the session, milliseconds on the ledger's clock. */
  readonly sst: number
  /** Subject, as the ID token names it. */
  readonly sub: string
  /** Hash of the issuer and the authorization server's session id. */
  readonly asid?: string
  /** Hash of the login's nonce. */
  readonly nh: string
  /** Granted scope; absent when nobody knows. */
  readonly scope?: string
  readonly acr?: string
  readonly auth_time?: number
  /** ID-token claims that route policies name. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** Roles of the user that routes ask for. */
  readonly roles?: readonly string[]
  /** Where the login came from, if sessions are bound to it. */
  readonly ctx?: ContextFacts
  /** The key that sealed it, as its own header says: nothing that is sealed. */
  readonly kid?: string
}

/** What stays the same, or is replaced as a whole, from generation to generation. */
export type SessionFacts = Omit<RefreshCookieClaims, 'len' | 'ate' | 'atl' | 'k' | 'kid'>

/** What the ID cookie holds. Its `exp` is the absolute deadline too. */
export interface IdCookieClaims extends SessionClaims {
  /** Generation that it came with; absent in those of a release before this one. */
  readonly g?: number
  readonly claims: Readonly<Record<string, unknown>>
  /** Claims that capabilities need, by path; the SPA is never shown them. */
  readonly policy?: Readonly<Record<string, unknown>>
  /** The ID token itself, only for `logout.idTokenHint`. */
  readonly idt?: string
  /** Value of `logout.logoutHintClaim`. */
  readonly lh?: string
}

/** The sealed cookies of one generation, as they are sent, or parked for somebody who missed them. */
export interface Generation {
  readonly claims: RefreshCookieClaims
  readonly refresh: string
  /** Absent when the access token is too large for the budgets. */
  readonly access?: string | undefined
  /** Absent when the ID cookie of the generation before is still right. */
  readonly id?: string | undefined
  /** What the ledger has to keep before anybody is given the access cookie. */
  readonly heldToken?: HeldToken | undefined
}

/**
 * Whether an ID cookie is not one from before the one in force, which a user may put back to keep what a refresh took from
 * him. A newer one is right: the answer that the refresh cookie is of came late.
 */
export function isInForce({ g }: IdCookieClaims, { idg }: RefreshCookieClaims): boolean {
  return g === undefined || idg === undefined || g >= idg
}

/**
 * How long the access cookie of this generation lives; 0 where it is over, or was sealed too far ahead of the clock, as
 * one is that was set back: the proxy refuses it then.
 */
export function accessSecondsLeft({ ate, atl }: RefreshCookieClaims, clock: Clock): number {
  const left = ate - epochSeconds(clock)
  return left <= atl + toleratedAheadSeconds ? Math.max(0, left) : 0
}

/** The facts that rules are judged by. */
export function identityOf({ sid, sst, sub, asid, kid }: RefreshCookieClaims, issuer: string): SessionIdentity {
  return { sid, startedAt: sst, subjectHash: identityHash(issuer, sub), asSessionHash: asid, kid }
}

/** Hash of the authorization server's own session, where the ID token names one. */
export function asSessionHash({ sid }: Readonly<Record<string, unknown>>, issuer: string): string | undefined {
  return typeof sid === 'string' ? identityHash(issuer, sid) : undefined
}

/** What is recorded of the credentials that a session was given. */
export function auditFacts({
  sid,
  sub,
  scope,
  g,
  atl,
  acr,
}: RefreshCookieClaims): Pick<AuditEvent, 'sid' | 'subject' | 'scope' | 'details'> {
  return {
    sid,
    subject: sub,
    scope,
    details: { generation: g, expires_in: atl, ...(acr === undefined ? {} : { acr }) },
  }
}

/** 96 bits that tell one nonce from another. */
export function nonceHash(nonce: string): string {
  return createHash('sha256').update(nonce).digest('base64url').slice(0, 16)
}

/** The wanted claims that are there, or `undefined` when none is. */
export function pickClaims(
  claims: Readonly<Record<string, unknown>>,
  wanted: readonly string[],
): Readonly<Record<string, unknown>> | undefined {
  const found = wanted.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]] as const)
  return found.length === 0 ? undefined : Object.fromEntries(found)
}
