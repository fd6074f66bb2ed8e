import type { KoaContextWithOIDC } from './provider.ts'

type Grant = NonNullable<KoaContextWithOIDC['oidc']['grant']>

/**
 * The clients are first-party, so what they ask for is granted without a question, unless they ask for one with
 * `prompt=consent`.
 * @param options.shared All logins of a browser session share one grant: revoking a refresh token of one ends the others
 * too. Otherwise every login has its own.
 */
export function grantWithoutConsent({ shared }: { shared: boolean }) {
  return async (ctx: KoaContextWithOIDC): Promise<Grant | undefined> => {
    const { client, provider, result, session } = ctx.oidc
    const consented = result?.consent?.grantId
    if (consented !== undefined) return provider.Grant.find(consented)
    if (client === undefined || ctx.oidc.promptPending('login') || ctx.oidc.promptPending('consent')) return undefined
    const earlier = shared ? session?.grantIdFor(client.clientId) : undefined
    const found = earlier === undefined ? undefined : await provider.Grant.find(earlier)
    const grant = found ?? new provider.Grant({ accountId: session?.accountId, clientId: client.clientId })
    await addRequestedScopes(ctx, grant)
    return grant
  }
}

async function addRequestedScopes(ctx: KoaContextWithOIDC, grant: Grant): Promise<void> {
  const asked = ctx.oidc.requestParamScopes
  grant.addOIDCScope([...ctx.oidc.requestParamOIDCScopes].join(' '))
  for (const [resource, server] of Object.entries(ctx.oidc.resourceServers ?? {})) {
    grant.addResourceScope(resource, [...server.scopes].filter((scope) => asked.has(scope)).join(' '))
  }
  await grant.save()
}
