import type { CapabilityOptions, RoleOptions } from './options.ts'
import { placeholdersOf } from './template.ts'

/**
 * A claim by its name, or by a path with dots into nested ones. A claim whose own name has dots in it, such as a URL, is
 * found first.
 */
export function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Record<string, unknown>)[step]
  }
  return value
}

/** The claims that capabilities need, by path: they are sealed with the session, and the SPA never sees them. */
export function claimsNeeded(
  capabilities: readonly CapabilityOptions[],
  roles: readonly RoleOptions[],
): readonly string[] {
  const asked = new Set(capabilities.flatMap((capability) => capability.roles))
  const needed = [
    ...roles.filter(({ name }) => asked.has(name)).map(({ claim }) => claim),
    ...capabilities.flatMap((capability) => [...Object.keys(capability.claims), ...madeOf(capability)]),
  ]
  return [...new Set(needed)].filter((path) => path !== 'sub')
}

function madeOf(capability: CapabilityOptions): readonly string[] {
  switch (capability.kind) {
    case 's3-presigned':
      return placeholdersOf(capability.key).filter((name) => !capability.inputs.includes(name))
    case 's3-sts':
      return placeholdersOf(capability.prefix)
    case 'jwt':
      break
  }
  return capability.includeClaims
}

/** Those of some roles that a user with these claims has, each once. */
export function rolesOf(claims: Readonly<Record<string, unknown>>, roles: readonly RoleOptions[]): readonly string[] {
  const held = roles.filter(({ claim, values }) => hasValue(claimAt(claims, claim), values))
  return [...new Set(held.map(({ name }) => name))]
}

/** Whether a claim has, or its list holds, one of the values. Compares exactly, without conversion. */
export function hasValue(value: unknown, accepted: readonly (string | number | boolean)[]): boolean {
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return values.some((member) => accepted.some((wanted) => wanted === member))
}
