import type { AccessCookieClaims, Clock, ErrorCode } from '@token-handler/shared'
import type { RouteOptions } from './options.ts'

/** Why a session does not suffice, and the challenge that says what would. */
export interface PolicyRefusal {
  readonly code: Extract<ErrorCode, 'insufficient_scope' | 'step_up_required'>
  readonly challenge: string
}

/** No scope would help: what is missing is a role or a claim of the user. */
const lacksIdentity: PolicyRefusal = {
  code: 'insufficient_scope',
  challenge: 'Bearer error="insufficient_scope"',
}

/**
 * Holds a session against what its route asks for: scopes, roles and claims (403, RFC 6750 section 3.1), then the strength and the
 * age of the authentication (401, RFC 9470 section 3).
 * @returns `undefined` when the session suffices.
 */
export function refuseByPolicy(
  session: AccessCookieClaims,
  { scopes, roles = [], claims, acrValues, maxAgeSeconds }: RouteOptions,
  clock: Clock,
): PolicyRefusal | undefined {
  if (scopes.length > 0 && !hasScopes(session.scope, scopes)) {
    return {
      code: 'insufficient_scope',
      challenge: `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"`,
    }
  }
  if (roles.length > 0 && !roles.some((role) => session.roles?.includes(role))) return lacksIdentity
  for (const name in claims) if (!hasClaim(session.claims, name, claims[name] ?? [])) return lacksIdentity
  const isStrong = acrValues.length === 0 || (session.acr !== undefined && acrValues.includes(session.acr))
  const isRecent = maxAgeSeconds === undefined || isWithin(session.auth_time, maxAgeSeconds, clock)
  if (isStrong && isRecent) return undefined
  return {
    code: 'step_up_required',
    challenge: [
      'Bearer error="insufficient_user_authentication"',
      ...(acrValues.length > 0 ? [`acr_values="${acrValues.join(' ')}"`] : []),
      ...(maxAgeSeconds === undefined ? [] : [`max_age="${maxAgeSeconds}"`]),
    ].join(', '),
  }
}

function hasScopes(granted: string | undefined, needed: readonly string[]): boolean {
  const scopes = granted?.split(' ') ?? []
  return needed.every((scope) => scopes.includes(scope))
}

/** Compares exactly, without conversion: the text "true" is not the value true. */
function hasClaim(
  claims: Readonly<Record<string, unknown>> | undefined,
  name: string,
  accepted: readonly (string | number | boolean)[],
): boolean {
  const value = claims?.[name]
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return values.some((member) => accepted.some((wanted) => wanted === member))
}

function isWithin(authTime: number | undefined, maxAgeSeconds: number, clock: Clock): boolean {
  return authTime !== undefined && clock.now() / 1000 - authTime <= maxAgeSeconds
}
