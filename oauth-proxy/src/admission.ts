import type { IncomingMessage } from 'node:http'
import {
  refuseSource,
  type AccessCookieClaims,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type Rules,
} from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { refuseByPolicy } from './policy.ts'
import type { Refusal } from './refusals.ts'
import type { Route } from './routes.ts'

/** A request that may go to its API; without claims on a route that asks for no session. */
export type Admission =
  { readonly ok: true; readonly claims: AccessCookieClaims | undefined } | ({ readonly ok: false } & Refusal)

export interface AdmissionDeps {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf'>
  readonly clock: Clock
}

const withoutSession: Admission = { ok: true, claims: undefined }

/** Judges a well-formed request for a route, before a byte of its body is read: method, source, size, session, policy. */
export function admit(req: IncomingMessage, route: Route, deps: AdmissionDeps): Admission {
  const { method = '', headers } = req
  if (!route.allowedMethods.has(method))
    return { ok: false, code: 'method_not_allowed', headers: ['allow', route.allow] }
  const untrusted = refuseSource({ method, headers }, route.guardPolicy)
  if (untrusted !== undefined) return { ok: false, code: untrusted }
  const length = Number(headers['content-length'] ?? 0)
  if (route.maxBodyBytes !== undefined && length > route.maxBodyBytes) return { ok: false, code: 'payload_too_large' }
  return route.session === 'required' ? admitSession(headers.cookie, route, deps) : withoutSession
}

function admitSession(cookieHeader: string | undefined, route: Route, deps: AdmissionDeps): Admission {
  const token = openAccessToken(cookieHeader, deps)
  if (!token.ok) return token
  const insufficient = refuseByPolicy(token.claims, route, deps.clock)
  if (insufficient === undefined) return token
  return { ok: false, code: insufficient.code, headers: ['www-authenticate', insufficient.challenge] }
}
