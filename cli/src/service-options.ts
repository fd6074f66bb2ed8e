import type { OAuthAgentOptions } from '@token-handler/oauth-agent'
import { capabilityOptionsOf } from './capability-options.ts'
import type { ForwardAuthOptions, OAuthProxyOptions, RateLimit } from '@token-handler/oauth-proxy'
import { gatewayStyles, type Config, type ContextOptions, type CookieSettings } from '@token-handler/shared'
import { readUpstreamTls } from './upstream-tls.ts'

/** The names of the configuration file end here: inside, the services speak camelCase. */
export function trustedOriginsOf({ public_url, trusted_origins }: Config): ReadonlySet<string> {
  return new Set(trusted_origins ?? [public_url])
}

export function cookieSettingsOf({ cookies }: Config): CookieSettings {
  return {
    prefix: cookies.prefix,
    accessTokenPath: cookies.access_token_path,
    agentPath: cookies.agent_path,
    persistent: cookies.persistent,
    headerBudgetBytes: cookies.header_budget,
    responseBudgetBytes: cookies.response_budget,
  }
}

function contextOptionsOf({ context }: Config): ContextOptions {
  const { network, client, ipv4_prefix: ipv4, ipv6_prefix: ipv6 } = context
  return { network, client, prefixLengths: { ipv4, ipv6 } }
}

export function agentOptionsOf(config: Config): OAuthAgentOptions {
  const { authorization_server: server, agent, session, cookies, login } = config
  return {
    publicOrigin: config.public_url,
    trustedOrigins: trustedOriginsOf(config),
    basePath: cookies.agent_path,
    tokens: config.tokens,
    authorizationServer: {
      issuer: server.issuer,
      clientId: server.client_id,
      clientAuthentication: clientAuthenticationOf(server),
      redirectUri: server.redirect_uri,
      postLogoutRedirectUri: server.post_logout_redirect_uri,
      scope: server.scope,
      resource: server.resource,
      authorizationParameters: server.authorization_parameters,
      idTokenAlgorithms: server.id_token_algorithms,
      requireIss: server.require_iss,
      responseMode: server.response_mode,
      pushedAuthorizationRequests: server.pushed_authorization_requests,
      timeoutSeconds: server.timeout_seconds,
      clockSkewSeconds: server.clock_skew_seconds,
      requiredAuthentication: login.require,
    },
    cookies: cookieSettingsOf(config),
    session: {
      absoluteSeconds: session.absolute_seconds,
      idleSeconds: session.idle_seconds,
      accessCookieSeconds: session.access_cookie_seconds,
      accessTokenSeconds: session.access_token_seconds,
    },
    authorizationParameters: agent.authorization_parameters,
    refreshParameters: agent.refresh_parameters,
    idTokenClaims: agent.id_token_claims,
    routeClaims: [...new Set(config.proxy.routes.flatMap((route) => Object.keys(route.claims)))],
    routeRoles: [...new Set(config.proxy.routes.flatMap((route) => route.roles))],
    detailedErrors: agent.detailed_errors,
    logout: { idTokenHint: agent.logout.id_token_hint, logoutHintClaim: agent.logout.logout_hint_claim },
    context: contextOptionsOf(config),
    onSuperseded: agent.on_superseded,
    trustedProxies: config.proxy.trusted_proxies,
    ...capabilityOptionsOf(config),
    rateLimit: agent.rate_limit.enabled ? rateLimitOf(agent.rate_limit) : undefined,
  }
}

function clientAuthenticationOf({
  client_authentication: authentication,
}: Config['authorization_server']): OAuthAgentOptions['authorizationServer']['clientAuthentication'] {
  // The configuration check demands it wherever the agent runs.
  if (authentication === undefined) throw new Error('authorization_server.client_authentication is missing')
  if (authentication.method !== 'private_key_jwt') {
    return { method: authentication.method, clientSecret: authentication.client_secret }
  }
  const { method, private_key: privateKey, algorithm, kid } = authentication
  return { method, privateKey, algorithm, kid }
}

function rateLimitOf(limit: { requests: number; window_seconds: number }): RateLimit {
  return { requests: limit.requests, windowSeconds: limit.window_seconds }
}

function forwardAuthOptionsOf({ forward_auth: forwardAuth }: Config): ForwardAuthOptions | undefined {
  if (forwardAuth === undefined) return undefined
  const { gateway, peers, gateway_secret: secret, previous_gateway_secret: previousSecret, listen } = forwardAuth
  return {
    style: gatewayStyles[gateway],
    peers,
    secrets: [secret, previousSecret].filter((each) => each !== undefined),
    clientCertificate: listen.tls?.client_ca_file !== undefined,
  }
}

/** @param configFile Paths of certificates count from its folder. */
export function proxyOptionsOf(config: Config, configFile: string): OAuthProxyOptions {
  const { per_session: perSession, per_address: perAddress } = config.proxy.rate_limit
  return {
    publicOrigin: config.public_url,
    trustedOrigins: trustedOriginsOf(config),
    cookies: cookieSettingsOf(config),
    trustedProxies: config.proxy.trusted_proxies,
    identityHeaders: config.proxy.identity_headers,
    context: contextOptionsOf(config),
    maxWaitingRequests: config.proxy.max_waiting_requests,
    absoluteSeconds: config.session.absolute_seconds,
    streamLimits: { perSession: config.proxy.streams.per_session, total: config.proxy.streams.total },
    rateLimit: {
      perSession: perSession && rateLimitOf(perSession),
      perAddress: perAddress && rateLimitOf(perAddress),
    },
    forwardAuth: forwardAuthOptionsOf(config),
    routes: config.proxy.routes.map((route, index) => ({
      path: route.path,
      upstream: route.upstream,
      upstreamTls: readUpstreamTls(route.upstream_tls, `proxy.routes[${index}].upstream_tls`, configFile),
      upstreamPath: route.upstream_path,
      methods: route.methods,
      session: route.session,
      scopes: route.scopes,
      claims: route.claims,
      roles: route.roles,
      acrValues: route.acr_values,
      maxAgeSeconds: route.max_age,
      background: route.background,
      navigable: route.navigable,
      embeddable: route.embeddable,
      sandbox: route.sandbox,
      webSocket: route.websocket,
      streams: {
        atTokenExpiry: route.streams.at_token_expiry,
        maxDurationSeconds: route.streams.max_duration_seconds,
      },
      forwardCookies: route.forward_cookies,
      maxBodyBytes: route.max_body_bytes,
      minBodyBytesPerSecond: route.min_body_bytes_per_second,
      connectTimeoutSeconds: route.connect_timeout_seconds,
      responseTimeoutSeconds: route.response_timeout_seconds,
      idleTimeoutSeconds: route.idle_timeout_seconds,
    })),
  }
}
