import type { ContextOptions, CookieSettings } from '@token-handler/shared'
import type { RateLimit } from './rate-limit.ts'

/** What the OAuth Proxy serves, and whom it trusts. Durations are seconds. */
export interface OAuthProxyOptions {
  /** Origin under which browsers reach the proxy, such as `https://www.example.com`. */
  readonly publicOrigin: string
  /** Serialized origins (RFC 6454 section 6.2) of the single-page applications. */
  readonly trustedOrigins: ReadonlySet<string>
  readonly cookies: CookieSettings
  readonly routes: readonly RouteOptions[]
  /** IP addresses and CIDR blocks of the proxies in front of this one: their `X-Forwarded-For` counts. */
  readonly trustedProxies: readonly string[]
  /**
   * Further request headers that an API takes for an identity and no client may send; a trailing `*` matches any end.
   * The usual ones (`x-user`, `x-auth-*`, `remote-user` …) never pass anyway.
   */
  readonly identityHeaders?: readonly string[] | undefined
  /**
   * Most requests to one API that may wait for the beginning of their answer, and as many whose body is still coming; one
   * more is answered 503 `upstream_overloaded`. Answers under way, such as event streams, do not count. 1,024 unless given.
   */
  readonly maxWaitingRequests?: number | undefined
  /** Binds sessions to where their login came from; the same as the agent's. Nothing unless given. */
  readonly context?: ContextOptions | undefined
  /** Longest life of a session, after which its streams are ended; no such limit unless given. */
  readonly absoluteSeconds?: number | undefined
  /** How many streams may be open; 50 of one session and 10,000 of a process unless given. */
  readonly streamLimits?: StreamLimitOptions | undefined
  /** More is answered 429 `too_many_requests` with `Retry-After`. Each process counts for itself. No limits unless given. */
  readonly rateLimit?: RateLimits | undefined
  /** Answers gateways that keep the traffic and ask about each request; nothing does unless given. */
  readonly forwardAuth?: ForwardAuthOptions | undefined
}

/**
 * How a gateway tells about the original request: `original` in `X-Original-Method`, `-URI` and `-Host`, `forwarded` in
 * `X-Forwarded-Method`, `-Uri` and `-Host`, `ext_authz` in the sub-request's own method, path and `Host`.
 */
export type GatewayStyle = 'original' | 'forwarded' | 'ext_authz'

export interface ForwardAuthOptions {
  readonly style: GatewayStyle
  /** IP addresses and CIDR blocks of the gateways. */
  readonly peers: readonly string[]
  /** One of these has to be in `Token-Handler-Gateway-Secret`; none is asked for where there are none. */
  readonly secrets: readonly string[]
  /** Whether the connection has to show a client certificate that its listener's authority signed. */
  readonly clientCertificate: boolean
}

export interface RateLimits {
  /** Of one session, over all its routes; counted once its cookie has been opened. */
  readonly perSession?: RateLimit | undefined
  /** Of one client address, IPv6 by /56; counted once the guards let a request pass, whether or not it has a session. */
  readonly perAddress?: RateLimit | undefined
}

export interface StreamLimitOptions {
  /** Event streams and WebSockets of one session; one more is answered 429 `too_many_streams`. */
  readonly perSession: number
  /** Of all; one more is answered 503 `streams_exhausted`. */
  readonly total: number
}

/** What ends event streams and WebSockets of a route, besides the end of their session. */
export interface StreamOptions {
  /** `keep` lets them go on with the token that they began with; `close` ends them with the access cookie. */
  readonly atTokenExpiry: 'keep' | 'close'
  readonly maxDurationSeconds?: number | undefined
}

/** TLS towards an API, in PEM: whom to trust in place of the well-known authorities, and who we are. */
export interface UpstreamTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** Name that the certificate must have, where it is not the host of the API. */
  readonly servername?: string
}

export type RouteSession = 'required' | 'none'

/** One public path and the API behind it; matches the path itself and everything below it, and the longest match wins. */
export interface RouteOptions {
  readonly path: string
  /** Origin of the API: scheme, host and port. */
  readonly upstream: string
  readonly upstreamTls?: UpstreamTls | undefined
  /** Replaces `path` towards the API; without it the path goes on unchanged. */
  readonly upstreamPath?: string | undefined
  readonly methods: readonly string[]
  /** `none`: no session is looked for and no bearer token is sent; the guards still apply. */
  readonly session: RouteSession
  /** Scopes the session must have been granted. */
  readonly scopes: readonly string[]
  /** ID-token claims and their accepted values; a claim that is a list needs one of them as a member. */
  readonly claims: Readonly<Record<string, readonly (string | number | boolean)[]>>
  /** Roles, one of which the agent must have found with the user. None is asked for unless given. */
  readonly roles?: readonly string[] | undefined
  /** Accepted authentication contexts; any unless given. */
  readonly acrValues: readonly string[]
  /** Longest time since the user authenticated. */
  readonly maxAgeSeconds?: number | undefined
  /** Calls are no activity, and the SPA is told so. They are unless given. */
  readonly background?: boolean | undefined
  /** May be opened as a page of its own, such as a download. */
  readonly navigable: boolean
  /** May be shown in a frame. */
  readonly embeddable: boolean
  /** Answers carry `Content-Security-Policy: sandbox` and `X-Content-Type-Options: nosniff`. */
  readonly sandbox: boolean
  /** Whether a request may become a WebSocket. Not unless given. */
  readonly webSocket?: boolean | undefined
  /** What ends streams; they are kept beyond the token's expiry unless given. */
  readonly streams?: StreamOptions | undefined
  /** Names of other applications' cookies that the API gets. */
  readonly forwardCookies: readonly string[]
  /** Largest request body; bodies are streamed, so there is no limit unless given. */
  readonly maxBodyBytes?: number | undefined
  /** Least rate of a request body that takes longer than the server's `requestTimeout`; 1,024 unless given. */
  readonly minBodyBytesPerSecond?: number | undefined
  /** Longest wait for a connection. A timer ends this and the two below, so each is at most 2,147,483. */
  readonly connectTimeoutSeconds: number
  /** Longest wait for the beginning of the answer, counted from the end of the request. */
  readonly responseTimeoutSeconds: number
  /** Longest silence within an answer or a WebSocket, and longest time that a client may leave an answer unread. */
  readonly idleTimeoutSeconds: number
}
