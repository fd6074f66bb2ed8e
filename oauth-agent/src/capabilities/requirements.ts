import { blockListOf, containsAddress, TokenHandlerError, type Clock } from '@token-handler/shared'
import type { RefreshCookieClaims } from '../session-claims.ts'
import { hasValue } from './claims.ts'
import type { CapabilityRequirements, RoleOptions } from './options.ts'

/** Whom a capability would be issued to. */
export interface Holder {
  readonly session: RefreshCookieClaims
  /** A claim of the ID token by its path. */
  readonly claimOf: (path: string) => unknown
  /** IP address of the client. */
  readonly address: string
}

/**
 * Holds a session against what a capability asks for: network, scopes, roles and claims (403, RFC 6750 section 3.1), then
 * strength and age of the authentication (401, RFC 9470 section 3).
 * @returns a function that throws TokenHandlerError `insufficient_scope` or `step_up_required`.
 */
export function createRequirements(
  { scopes, roles, claims, acrValues, maxAgeSeconds, networks }: CapabilityRequirements,
  allRoles: readonly RoleOptions[],
  clock: Clock,
): (holder: Holder) => void {
  const blocks = blockListOf(networks)
  const accepted = allRoles.filter(({ name }) => roles.includes(name))
  const refuse = (detail: string, scope = ''): never => {
    const challenge = `Bearer error="insufficient_scope"${scope}`
    throw new TokenHandlerError('insufficient_scope', { detail, headers: { 'www-authenticate': challenge } })
  }
  return ({ session, claimOf, address }) => {
    if (networks.length > 0 && !containsAddress(blocks, address)) refuse('Not from this network.')
    const granted = session.scope?.split(' ') ?? []
    if (!scopes.every((scope) => granted.includes(scope))) {
      refuse('The session lacks a scope.', `, scope="${scopes.join(' ')}"`)
    }
    if (roles.length > 0 && !accepted.some(({ claim, values }) => hasValue(claimOf(claim), values))) {
      refuse('The user lacks the role.')
    }
    for (const [claim, values] of Object.entries(claims)) {
      if (!hasValue(claimOf(claim), values)) refuse('The user lacks a claim.')
    }
    const isStrong = acrValues.length === 0 || (session.acr !== undefined && acrValues.includes(session.acr))
    const isRecent = maxAgeSeconds === undefined || isWithin(session.auth_time, maxAgeSeconds, clock)
    if (isStrong && isRecent) return
    const challenge = [
      'Bearer error="insufficient_user_authentication"',
      ...(acrValues.length > 0 ? [`acr_values="${acrValues.join(' ')}"`] : []),
      ...(maxAgeSeconds === undefined ? [] : [`max_age="${maxAgeSeconds}"`]),
    ].join(', ')
    throw new TokenHandlerError('step_up_required', { headers: { 'www-authenticate': challenge } })
  }
}

function isWithin(authTime: number | undefined, maxAgeSeconds: number, clock: Clock): boolean {
  return authTime !== undefined && clock.now() / 1000 - authTime <= maxAgeSeconds
}
