import { oidcProvider, type KoaContextWithOIDC } from './provider.ts'

/** `acr` of a login with a password, the default. */
export const ACR_PASSWORD = 'urn:example:pwd'

/** `acr` of a login with a password and the confirm step. */
export const ACR_CONFIRMED = 'urn:example:mfa'

/** Weakest first: a session with a later one satisfies a request for an earlier one. */
export const ACR_VALUES: readonly string[] = [ACR_PASSWORD, ACR_CONFIRMED]

/** The reason that oidc-provider gives for an interaction that only has to strengthen the session. */
export const STEP_UP = 'acr_values'

/**
 * oidc-provider's policy, and one check more: the first known value of `acr_values` must be reached (OpenID Connect Core
 * section 3.1.2.1 allows to ignore it; then step-up could not be shown).
 */
export function interactionPolicy(): ReturnType<typeof oidcProvider.interactionPolicy.base> {
  const { base, Check } = oidcProvider.interactionPolicy
  const policy = base()
  policy
    .get('login')
    ?.checks.add(
      new Check(
        STEP_UP,
        'a stronger authentication is required',
        'unmet_authentication_requirements',
        (ctx: KoaContextWithOIDC) => level(ctx.oidc.session?.acr) < wantedLevel(ctx.oidc.params?.['acr_values']),
      ),
    )
  return policy
}

function level(acr: string | undefined): number {
  return acr === undefined ? -1 : ACR_VALUES.indexOf(acr)
}

function wantedLevel(acrValues: unknown): number {
  if (typeof acrValues !== 'string') return -1
  return level(acrValues.split(' ').find((value) => ACR_VALUES.includes(value)))
}
