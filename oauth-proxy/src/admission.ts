import {
  cookieTag,
  refuseSource,
  type AccessCookieClaims,
  type AuditLog,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type Peers,
  type ReceivedRequest,
  type Rules,
} from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { refuseByPolicy } from './policy.ts'
import type { AdmitContext } from './session-context.ts'
import { networkOf, type RateLimiter } from './rate-limit.ts'
import { bringsToken } from './query-token.ts'
import type { Refusal } from './refusals.ts'
import type { Route } from './routes.ts'

/** A request that may go to its API; without claims on a route that asks for no session. */
export type Admission =
  | { readonly ok: true; readonly claims: AccessCookieClaims | undefined; readonly kid: string | undefined }
  | ({ readonly ok: false } & Refusal)

export interface AdmissionDeps {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf' | 'areStale'>
  readonly clock: Clock
  readonly audit: Pick<AuditLog, 'isBlocking'>
  readonly peers: Peers
  /** Only where sessions are bound to where they came from. */
  readonly context: AdmitContext | undefined
  readonly limits: { readonly perSession: RateLimiter | undefined; readonly perAddress: RateLimiter | undefined }
}

const queryToken: Admission = {
  ok: false,
  code: 'invalid_request',
  log: { query: 'An access_token in the query would stand beside that of the session.' },
}
const withoutSession: Admission = { ok: true, claims: undefined, kid: undefined }

/**
 * Judges a well-formed request for a route, before a byte of its body is read: method, source, size, rate, session, policy.
 * @param options.query As it will be sent to the API.
 */
export function admit(
  req: ReceivedRequest,
  route: Route,
  deps: AdmissionDeps,
  { query, isUpgrade = false }: { readonly query: string; readonly isUpgrade?: boolean },
): Admission {
  const { method = '', headers } = req
  if (deps.audit.isBlocking) return { ok: false, code: 'audit_unavailable' }
  if (!route.allowedMethods.has(method))
    return { ok: false, code: 'method_not_allowed', headers: ['allow', route.allow] }
  const untrusted = refuseSource({ method, headers, isUpgrade }, route.guardPolicy)
  if (untrusted !== undefined) return { ok: false, code: untrusted }
  const length = Number(headers['content-length'] ?? 0)
  if (route.maxBodyBytes !== undefined && length > route.maxBodyBytes) return { ok: false, code: 'payload_too_large' }
  if (route.session === 'required' && bringsToken(query)) return queryToken
  return limitByAddress(req, deps) ?? (route.session === 'required' ? admitSession(req, route, deps) : withoutSession)
}

// After the guards, so that a page of another site cannot use up what its visitors have.
function limitByAddress(req: ReceivedRequest, { limits, peers }: AdmissionDeps): Admission | undefined {
  if (limits.perAddress === undefined) return undefined
  const address = peers.clientAddressOf(req)
  const seconds = limits.perAddress(networkOf(address))
  if (seconds === 0) return undefined
  const ignoredForwardedFor = req.headers['x-forwarded-for'] !== undefined && !peers.peerOf(req).isTrustedProxy
  return tooManyRequests(seconds, { log: { address, ignoredForwardedFor } })
}

function tooManyRequests(seconds: number, why: Pick<Refusal, 'log' | 'session'>): Admission {
  return { ok: false, code: 'too_many_requests', headers: ['retry-after', String(seconds)], ...why }
}

function admitSession(req: ReceivedRequest, route: Route, deps: AdmissionDeps): Admission {
  const token = openAccessToken(req.headers.cookie, deps)
  if (!token.ok) return token
  const { claims: session } = token
  const { sid } = session
  const seconds = deps.limits.perSession?.(sid) ?? 0
  if (seconds > 0) return tooManyRequests(seconds, { log: { session: cookieTag(sid) }, session })
  if (deps.context !== undefined && !deps.context(req, route, session))
    return { ok: false, code: 'context_changed', session }
  const insufficient = refuseByPolicy(session, route, deps.clock)
  if (insufficient === undefined) return token
  return { ok: false, code: insufficient.code, headers: ['www-authenticate', insufficient.challenge], session }
}
