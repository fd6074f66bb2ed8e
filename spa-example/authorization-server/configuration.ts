import { randomBytes } from 'node:crypto'
import { ACR_VALUES, interactionPolicy } from './authentication-context.ts'
import { grantWithoutConsent } from './grants.ts'
import { subjectOf } from './interactions.ts'
import { errorPage, logoutPage, signedOutPage, type Page } from './pages.ts'
import { oidcProvider, type Configuration, type KoaContextWithOIDC } from './provider.ts'
import type { User } from './server.ts'
import type { Store } from './store.ts'

const API_SCOPES = ['orders:read', 'orders:write']
const DAY_SECONDS = 86_400

/** What the server is made of; see `AuthorizationServerOptions`. */
export interface ConfigurationOptions {
  signingKey: object
  store: Store
  users: readonly User[]
  apiAudience: string
  accessTokenLifetimeSeconds: number
  rotateRefreshTokens: boolean
  shareGrants: boolean
}

/** The oidc-provider configuration: what is on, what is off, and the rules of this server. */
export function buildConfiguration(options: ConfigurationOptions): Configuration {
  return {
    adapter: (model: string) => options.store.adapter(model),
    clientDefaults: {
      id_token_signed_response_alg: 'ES256',
      authorization_signed_response_alg: 'ES256',
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
    },
    clientAuthMethods: ['client_secret_basic', 'private_key_jwt'],
    responseTypes: ['code'],
    jwks: { keys: [options.signingKey] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', 'profile', 'email', ...API_SCOPES],
    claims: {
      openid: ['sub', 'auth_time', 'acr', 'amr', 'sid'],
      profile: ['name', 'preferred_username', 'picture'],
      email: ['email', 'email_verified'],
    },
    acrValues: [...ACR_VALUES],
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}`, policy: interactionPolicy() },
    findAccount: (_ctx, sub) => {
      const user = options.users.find((candidate) => subjectOf(candidate) === sub)
      return user && { accountId: sub, claims: () => ({ ...user.claims, sub }) }
    },
    loadExistingGrant: grantWithoutConsent({ shared: options.shareGrants }),
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: options.rotateRefreshTokens,
    // The store ends what belongs to a session together with it. oidc-provider's own binding would also end the tokens of
    // a login as soon as the same browser logs in again.
    expiresWithSession: () => false,
    clientBasedCORS: () => false,
    ttl: {
      AccessToken: options.accessTokenLifetimeSeconds,
      AuthorizationCode: 60,
      Grant: DAY_SECONDS,
      IdToken: 300,
      Interaction: 600,
      RefreshToken: DAY_SECONDS,
      Session: DAY_SECONDS,
    },
    // oidc-provider's own dispatcher refuses loopback and private addresses, where everything here lives.
    fetch: (url, init) => fetch(url, withoutDispatcher(init)),
    renderError: (ctx, out) => show(ctx, errorPage({ error: out.error, description: out.error_description })),
    features: {
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: true },
      jwtResponseModes: { enabled: true },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => show(ctx, logoutPage({ form, returnUri: returnUriOf(ctx) })),
        postLogoutSuccessSource: (ctx) => show(ctx, signedOutPage()),
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => options.apiAudience,
        // A refresh that narrows its scope to OpenID Connect's own gets an opaque token, for userinfo and introspection.
        useGrantedResource: (ctx) => !isForUserinfo(ctx),
        getResourceServerInfo: (_ctx, resource) => {
          if (resource !== options.apiAudience) throw new oidcProvider.errors.InvalidTarget()
          return {
            scope: API_SCOPES.join(' '),
            audience: options.apiAudience,
            accessTokenTTL: options.accessTokenLifetimeSeconds,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'ES256' } },
          }
        },
      },
    },
  }
}

function withoutDispatcher(init: RequestInit | undefined): RequestInit {
  const { dispatcher: _refusesLoopback, ...rest } = { dispatcher: undefined, ...init }
  return rest
}

function isForUserinfo(ctx: KoaContextWithOIDC): boolean {
  const scope = ctx.oidc.params?.['scope']
  return typeof scope === 'string' && !scope.split(' ').some((value) => API_SCOPES.includes(value))
}

function returnUriOf(ctx: KoaContextWithOIDC): string | undefined {
  const uri = ctx.oidc.params?.['post_logout_redirect_uri']
  return typeof uri === 'string' ? uri : undefined
}

function show(ctx: KoaContextWithOIDC, page: Page): void {
  ctx.set(page.headers)
  ctx.body = page.html
}
