import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ErrorCode, Peer } from '@token-handler/shared'
import { forwardedFor } from './forwarded-for.ts'
import { createNameFilter, nameList, type NameList } from './name-filter.ts'
import type { Route } from './routes.ts'

/**
 * Request headers that end here. Everything else passes, so that APIs may have headers of their own.
 *
 * - What authenticates is ours: the bearer token of the session takes the place of anything the client sends.
 * - `Origin`, `Referer` and Fetch Metadata were judged by the guards. They describe the request to our host, and `Host` is
 *   the API's from here on: an API that compares them with it would refuse everything, and a Referer tells where users are.
 * - `X-Forwarded-*` are ours. `Forwarded` (RFC 7239) never passes, not even from a trusted proxy: those that write
 *   `X-Forwarded-For` leave a client's `Forwarded` as it came.
 */
export const deniedRequestHeaders: NameList = nameList(
  // Hop by hop (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2)
  'connection keep-alive te trailer transfer-encoding upgrade http2-settings proxy-*',
  // A variable that programs take their own proxy from (httpoxy, CVE-2016-5385)
  'proxy',
  // Written anew for this hop
  'host content-length expect via max-forwards cookie cookie2',
  // Authentication and identity
  'authorization dpop token-handler-* remote-* x-remote-* x-auth-* x-authenticated-* oidc-*',
  'x-user x-user-* x-userinfo x-username x-email x-groups x-roles x-forwarded* x-webauth-* x-authentik-*',
  'x-access-token x-id-token x-token x-jwt-* x-authorization x-consumer-* x-credential-*',
  'x-goog-iap-* x-goog-authenticated-* x-amzn-oidc-* x-oidc-* x-ms-client-* x-ms-token-* x-pomerium-*',
  'x-vouch-* x-client-cert* x-ssl-* ssl-* client-cert* x-arr-* tailscale-* cf-access-*',
  'x-spiffe-* x-endpoint-api-userinfo x-apigateway-* impersonate-* x-internal-* x-envoy-*',
  'kubeflow-* teleport-*',
  // Where the request comes from
  'forwarded* x-forward-for x-real-ip x-client-ip client-ip x-cluster-client-ip true-client-ip x-true-client-ip',
  'x-originating-* x-proxyuser-* x-scheme x-url-scheme x-script-name script-name x-path-info path-info',
  'cf-connecting-ip* fastly-client-ip x-azure-clientip x-azure-socketip x-appengine-* x-host',
  'x-http-host-override front-end-https wl-proxy-*',
  'origin referer sec-fetch-* sec-purpose purpose service-worker* access-control-request-*',
  // What would be another request to a server that heeds it
  'x-original-* x-rewrite-* x-http-method* x-method-override x-http-path-override x-override-url x-wap-profile',
  'x-middleware-* x-invoke-* x-accel-* x-sendfile* sec-websocket-*',
)
/** gRPC-Web's own form of `User-Agent`. */
const excepted = nameList('x-user-agent')

/** No client may declare to be between itself and us what this proxy relies on (RFC 9110 section 7.6.1). */
const mayBeHopByHop = createNameFilter(
  nameList(
    'authorization cookie host origin referer sec-* token-handler-* content-* date',
    'forwarded x-forwarded-* x-real-ip expect via cache-control range if-* accept*',
    'access-control-* transfer-encoding service-worker purpose x-moz',
  ),
)

const maxHeaderCount = 200
const maxValueLength = 8192
const printable = /^[\t\x20-\x7e]*$/

/**
 * Judges what frames and routes a request, before anything of it is believed.
 * @returns The error code, or `undefined` when the request may go on.
 */
export function refuseFraming(
  req: IncomingMessage,
  { isUpgrade = false }: { readonly isUpgrade?: boolean } = {},
): ErrorCode | undefined {
  const { rawHeaders, headers, httpVersionMajor, httpVersionMinor } = req
  if (httpVersionMajor !== 1 || httpVersionMinor > 1) return 'invalid_request'
  if (rawHeaders.length > 2 * maxHeaderCount) return 'headers_too_large'
  const hosts = countNamed(rawHeaders, 'host')
  if (hosts > 1 || (hosts === 0 && httpVersionMinor === 1)) return 'invalid_request'
  // Two servers need not agree on which of two content types counts.
  if (countNamed(rawHeaders, 'content-type') > 1) return 'invalid_request'
  const coding = headers['transfer-encoding']
  // Any other coding would have to be undone or named to the API; HTTP/1.0 has none (RFC 9112 section 6.1).
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || httpVersionMinor === 0)) return 'invalid_request'
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') return 'expectation_failed'
  return refuseConnection(headers, isUpgrade)
}

/** `Upgrade` is never passed on; a WebSocket handshake to a route that has none is malformed, any other one unknown. */
function refuseConnection({ connection, upgrade }: IncomingHttpHeaders, isUpgrade: boolean): ErrorCode | undefined {
  if (upgrade !== undefined && !isUpgrade)
    return upgrade.toLowerCase() === 'websocket' ? 'invalid_request' : 'upgrade_required'
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return connectionOptions(connection).every(mayBeHopByHop) ? undefined : 'invalid_request'
}

function connectionOptions(connection: string): string[] {
  return connection
    .toLowerCase()
    .split(',')
    .map((option) => option.trim())
    .filter((option) => option !== '')
}

/** How many lines of a header carry this lower-case name. */
export function countNamed(rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const found = rawHeaders[index] ?? ''
    if (found.length === name.length && found.toLowerCase() === name) count++
  }
  return count
}

export interface UpstreamRequest {
  readonly route: Route
  readonly peer: Peer
  /** The session's access token; `undefined` on routes without session. */
  readonly accessToken: string | undefined
}

export interface RequestHeadersSettings {
  readonly publicOrigin: string
  /** Lower-case beginnings of our cookies' names. */
  readonly ownCookiePrefixes: readonly string[]
  readonly identityHeaders: readonly string[]
}

export type RequestHeaders =
  { readonly ok: true; readonly headers: string[] } | { readonly ok: false; readonly code: ErrorCode }

export type RequestHeadersBuilder = (req: IncomingMessage, request: UpstreamRequest) => RequestHeaders

/** Builds what the API gets: names and values in turn, without `Host` and the body's framing, which the connection adds. */
export function createRequestHeaders({
  publicOrigin,
  ownCookiePrefixes,
  identityHeaders,
}: RequestHeadersSettings): RequestHeadersBuilder {
  const passes = createNameFilter([...deniedRequestHeaders, ...nameList(...identityHeaders)], excepted)
  const { protocol, host } = new URL(publicOrigin)
  const own = ['via', '1.1 token-handler', 'x-forwarded-proto', protocol.slice(0, -1), 'x-forwarded-host', host]

  return ({ headers: received }, { route, peer, accessToken }) => {
    const headers = [...own]
    const dropped = nonStandardOptions(received.connection)
    for (const name in received) {
      if (!passes(name) || dropped?.includes(name) === true) continue
      const value = received[name]
      if (typeof value !== 'string') continue
      if (value.length > maxValueLength) return { ok: false, code: 'headers_too_large' }
      if (!printable.test(value)) return { ok: false, code: 'invalid_request' }
      headers.push(name, value)
    }
    headers.push('x-forwarded-for', forwardedFor(peer, received['x-forwarded-for'] as string | undefined))
    if (accessToken !== undefined) headers.push('authorization', `Bearer ${accessToken}`)
    if (route.forwardedCookies.size > 0) {
      const cookie = otherCookies(received.cookie, route.forwardedCookies, ownCookiePrefixes)
      if (cookie !== '') headers.push('cookie', cookie)
    }
    return { ok: true, headers }
  }
}

/** Headers that the client declares to be for this hop only. */
function nonStandardOptions(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return connectionOptions(connection)
}

/** The cookies that the route lets through, with their bytes unchanged; ours never, whatever the configuration says. */
export function otherCookies(
  cookieHeader: string | undefined,
  allowed: ReadonlySet<string>,
  ownPrefixes: readonly string[],
): string {
  if (cookieHeader === undefined) return ''
  return cookieHeader
    .split(';')
    .map(trimSpaceAndTab)
    .filter((pair) => {
      const name = pair.slice(0, Math.max(0, pair.indexOf('=')))
      return (
        allowed.has(name) &&
        !ownPrefixes.some((prefix) => name.toLowerCase().startsWith(prefix)) &&
        printable.test(pair)
      )
    })
    .join('; ')
}

/** A regular expression would take quadratic time, `trim` would cut more than RFC 6265 section 5.2 allows. */
function trimSpaceAndTab(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isSpaceOrTab(text.charCodeAt(start))) start++
  while (end > start && isSpaceOrTab(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isSpaceOrTab(code: number): boolean {
  return code === 0x20 || code === 0x09
}
