import type { IncomingHttpHeaders } from 'node:http'
import type { HeaderLines } from './answers.ts'
import { sanitizeChallenge } from './challenge.ts'
import { createNameFilter, nameList } from './name-filter.ts'
import { publicLinks, publicLocation, type AddressSpace } from './public-address.ts'
import type { Route } from './routes.ts'

/**
 * Headers of an API's answer that end here. Everything else passes. The API shares our origin in the eyes of the browser,
 * so whatever would act on the origin, on the connection or on a cache in front of us is not the API's to say.
 */
const denied = nameList(
  // Hop by hop (RFC 9110 section 7.6.1)
  'connection keep-alive proxy-* te trailer transfer-encoding upgrade http2-settings',
  // Ours to say: cookies, CORS, what may be stored, what a document may do
  'set-cookie* access-control-* timing-allow-origin cross-origin-* origin-agent-cluster vary',
  'x-content-type-options document-policy* permissions-policy* feature-policy supports-loading-mode',
  // Acts on the whole origin or host
  'clear-site-data strict-transport-security public-key-pins* expect-ct expect-staple nel',
  'report-to reporting-endpoints alt-svc accept-ch* critical-ch service-worker-* set-login',
  'observe-browsing-topics attribution-reporting-* speculation-rules no-vary-search origin-trial',
  'document-isolation-policy* integrity-policy* connection-allowlist* origin-isolation delegate-ch',
  'secure-session-* sec-session-* use-as-dictionary shared-storage-* activate-storage-access idp-signin-status',
  'x-permitted-cross-domain-policies p3p sourcemap x-sourcemap refresh x-dns-prefetch-control',
  // Read by a web server in front of us
  'x-accel-* x-sendfile* x-lighttpd-* x-litespeed-* x-reproxy-* surrogate-* edge-*',
  // Tells of the inside
  'server x-powered-by via x-aspnet* x-upstream-* x-debug* x-envoy-* x-backend* x-served-by',
  'x-generator x-runtime x-version server-timing x-varnish x-real-ip x-forwarded-* forwarded',
  // Echoes what this proxy sent, or asks for credentials in a way that is not ours
  'authorization cookie* dpop* authentication-info token-handler-* x-access-token x-id-token',
  'x-refresh-token x-auth-token x-jwt-*',
  // Rewritten below
  'location content-location link www-authenticate content-security-policy*',
)
/** What the SPA library goes by; script of another origin may read it. */
const backgroundMark = ['token-handler-background', '1', 'access-control-expose-headers', 'Token-Handler-Background']
/** What a cache may do with answers of a session is ours to say. */
const cacheHeaders = nameList('cache-control expires pragma age x-cache* cdn-* cloudflare-cdn-*')

export interface ResponseHeaderDeps {
  readonly cors: (origin: string | undefined) => HeaderLines
  readonly addresses: AddressSpace
}

export interface UpstreamResponse {
  readonly route: Route
  /** Path and query that the API was asked for. */
  readonly sentTarget: string
  readonly origin: string | undefined
  readonly accessToken: string | undefined
  readonly status: number
}

/** Builds what the browser gets of an API's answer: names and values in turn. */
export function createResponseHeaders({
  cors,
  addresses,
}: ResponseHeaderDeps): (received: IncomingHttpHeaders, response: UpstreamResponse) => string[] {
  const passes = createNameFilter(denied)
  const passesWithSession = createNameFilter([...denied, ...cacheHeaders])

  return (received, response) => {
    const { route, origin, accessToken, status } = response
    const headers = [...cors(origin)]
    const hasSession = route.session === 'required'
    const passesHere = hasSession ? passesWithSession : passes
    const dropped = connectionOptions(received.connection)
    for (const name in received) {
      if (!passesHere(name) || dropped?.includes(name) === true) continue
      // RFC 9110 section 8.6: none in a 204.
      if (name === 'content-length' && status === 204) continue
      const value = received[name]
      pushUnlessToken(headers, name, value, accessToken)
    }
    mergeVary(headers, received.vary, accessToken)
    if (route.background === true) headers.push(...backgroundMark)
    if (hasSession) headers.push('cache-control', 'no-store')
    if (route.sandbox) headers.push('content-security-policy', 'sandbox', 'x-content-type-options', 'nosniff')
    else {
      if (isNosniff(received['x-content-type-options'])) headers.push('x-content-type-options', 'nosniff')
      pushUnlessToken(headers, 'content-security-policy', received['content-security-policy'], accessToken)
    }
    pushAddresses(headers, received, response, addresses)
    const challenge = sanitizeChallenge(received['www-authenticate'])
    if (challenge !== undefined && !holdsToken(challenge, accessToken)) headers.push('www-authenticate', challenge)
    // A 401 without a challenge is malformed (RFC 9110 section 15.5.2).
    else if (status === 401) headers.push('www-authenticate', 'Bearer')
    return headers
  }
}

/** Even an API that echoes what it gets must not give the access token to a script. */
function holdsToken(value: string, accessToken: string | undefined): boolean {
  return accessToken !== undefined && value.length >= accessToken.length && value.includes(accessToken)
}

/** The one value that there is (Fetch standard, "nosniff"). */
function isNosniff(value: string | string[] | undefined): boolean {
  return /^[\t ]*nosniff[\t ]*(?:,|$)/i.test([value ?? ''].flat()[0] ?? '')
}

function pushUnlessToken(
  headers: string[],
  name: string,
  value: string | string[] | undefined,
  accessToken: string | undefined,
): void {
  if (typeof value !== 'string') for (const item of value ?? []) pushUnlessToken(headers, name, item, accessToken)
  else if (!holdsToken(value, accessToken)) headers.push(name, value)
}

function pushAddresses(
  headers: string[],
  received: IncomingHttpHeaders,
  { route, sentTarget, accessToken }: UpstreamResponse,
  addresses: AddressSpace,
): void {
  for (const name of ['location', 'content-location'] as const) {
    const value = received[name]
    if (typeof value !== 'string') continue
    pushUnlessToken(headers, name, publicLocation(value, { route, sentTarget }, addresses), accessToken)
  }
  if (received['link'] === undefined) return
  const links = publicLinks([received['link']].flat().join(', '), { route, sentTarget }, addresses)
  pushUnlessToken(headers, 'link', links, accessToken)
}

/** Our `Vary: Origin` and the API's own become one line. */
function mergeVary(headers: string[], received: string | string[] | undefined, accessToken: string | undefined): void {
  if (received === undefined) return
  const at = headers.indexOf('vary')
  const theirs = typeof received === 'string' ? received : received.join(', ')
  if (holdsToken(theirs, accessToken)) return
  headers[at + 1] = theirs.trim() === '*' ? '*' : `${headers[at + 1] ?? 'Origin'}, ${theirs}`
}

function connectionOptions(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return connection
    .toLowerCase()
    .split(',')
    .map((option) => option.trim())
}
