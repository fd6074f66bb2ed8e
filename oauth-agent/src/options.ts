import type { ContextOptions, CookieSettings } from '@token-handler/shared'
import type { CapabilityOptions, CapabilitySigningOptions, RoleOptions } from './capabilities/options.ts'
import type { RateLimit } from './rate-limit.ts'

/** How the agent authenticates at the authorization server (OpenID Connect Core section 9). */
export type ClientAuthentication =
  | { readonly method: 'client_secret_basic' | 'client_secret_post'; readonly clientSecret: string }
  | {
      readonly method: 'private_key_jwt'
      /** PKCS#8 PEM, or a private JWK as JSON. */
      readonly privateKey: string
      /** JWS algorithm of the assertion, such as `ES256`. */
      readonly algorithm: string
      /** Key id in the assertion; the JWK's own unless given. */
      readonly kid?: string | undefined
    }

export interface AuthorizationServerOptions {
  /** Exactly as the metadata says it: compared as text, so a trailing slash counts (RFC 8414 section 3.3). */
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication: ClientAuthentication
  /** A page of the SPA, sent byte for byte in both requests (RFC 6749 section 4.1.3). */
  readonly redirectUri: string
  readonly postLogoutRedirectUri?: string | undefined
  /** Asked for unless the SPA asks for another; contains `openid`. */
  readonly scope: string
  /** Resource indicators (RFC 8707). */
  readonly resource: readonly string[]
  /** Parameters of every authorization request. The SPA cannot replace them, unless `authorizationParameters` of the agent names them. */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /** Signature algorithms accepted on ID tokens, logout tokens and signed responses, whatever the metadata says. */
  readonly idTokenAlgorithms: readonly string[]
  /** Demand `iss` in authorization responses (RFC 9207) even where the metadata is silent. */
  readonly requireIss: boolean
  /** How the authorization response comes; `query` unless given. */
  readonly responseMode?: ResponseMode | undefined
  /** RFC 9126. `auto` pushes where the metadata offers it; there is no fallback when pushing fails. */
  readonly pushedAuthorizationRequests: 'auto' | 'require' | 'off'
  /** Limit of one call. */
  readonly timeoutSeconds: number
  readonly clockSkewSeconds: number
  /** What every login must have reached, whatever was asked for. Nothing unless given. */
  readonly requiredAuthentication?: RequiredAuthentication | undefined
}

/** As parameters of the redirect URI, or signed, in a JWT that is the only one (JARM, `response_mode=jwt`). */
export type ResponseMode = 'query' | 'jwt'

/** Claims that the ID token of a login must have (OpenID Connect Core section 2). */
export interface RequiredAuthentication {
  /** Authentication contexts, one of which was reached; any when empty. */
  readonly acr: readonly string[]
  /** Authentication methods, all of which were used (RFC 8176). */
  readonly amr: readonly string[]
}

export interface SessionOptions {
  /** A session is over after this; never moved. */
  readonly absoluteSeconds: number
  /** A session is over after this without activity. */
  readonly idleSeconds: number
  /** Longest life of an access cookie. */
  readonly accessCookieSeconds: number
  /** Assumed life of an access token whose answer lacks a usable `expires_in`. */
  readonly accessTokenSeconds: number
}

/** Everything that the operator decides about the OAuth Agent. */
export interface OAuthAgentOptions {
  /** Origin under which browsers reach the agent. */
  readonly publicOrigin: string
  /** Serialized origins of the SPA. */
  readonly trustedOrigins: ReadonlySet<string>
  /** Public path of the agent, such as `/oauth-agent`; the same as `cookies.agentPath`. */
  readonly basePath: string
  readonly authorizationServer: AuthorizationServerOptions
  readonly cookies: CookieSettings
  /** Where access tokens are; `cookie` unless given. */
  readonly tokens?: TokenPlace | undefined
  readonly session: SessionOptions
  /** Parameters that the SPA may add to an authorization request besides the well-known ones. */
  readonly authorizationParameters: readonly string[]
  /** Form fields that the SPA may add to a refresh. */
  readonly refreshParameters: readonly string[]
  /** ID-token claims that the session answer shows; never `nonce`, `at_hash`, `c_hash`, `s_hash` and `sid`. */
  readonly idTokenClaims: readonly string[]
  /** ID-token claims that route policies name: sealed into the access cookie. */
  readonly routeClaims: readonly string[]
  /** Roles that routes ask for: those that the user has are sealed into the access cookie. None unless given. */
  readonly routeRoles?: readonly string[] | undefined
  /** Send `detailed_error`; for development. */
  readonly detailedErrors: boolean
  readonly logout: {
    /** Log out through `<base>/logout/continue` with an `id_token_hint`. */
    readonly idTokenHint: boolean
    /** ID-token claim that `logout_url` carries as `logout_hint`; none unless given. */
    readonly logoutHintClaim?: string | undefined
  }
  /** Binds sessions to where their login came from. Nothing unless given. */
  readonly context?: ContextOptions | undefined
  /** What a replaced cookie that is shown again leads to. */
  readonly onSuperseded: 'refuse' | 'end_session'
  /** IP addresses and CIDR blocks of the proxies in front of this agent: their `X-Forwarded-For` counts. None unless given. */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * For the logins' beginnings and ends and the refreshes of one client address together; `session` may be asked ten times
   * as often. No limit unless given.
   */
  readonly rateLimit?: RateLimit | undefined
  /** Temporary credentials for what is not behind the proxy. None unless given. */
  readonly capabilities?: readonly CapabilityOptions[] | undefined
  /** Named roles that capabilities and routes ask for. */
  readonly roles?: readonly RoleOptions[] | undefined
  /** Needed for capabilities of the kind `jwt`. */
  readonly capabilitySigning?: CapabilitySigningOptions | undefined
}

/**
 * `cookie`: in the access cookie, and one that does not fit is `token_too_large`. `ledger`: in the ledger, sealed under a key
 * that the access cookie holds. `auto`: in the cookie where it fits, else in the ledger.
 */
export type TokenPlace = 'cookie' | 'ledger' | 'auto'
