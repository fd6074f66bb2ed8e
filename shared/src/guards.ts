import type { IncomingHttpHeaders } from 'node:http'
import type { ErrorCode } from './errors.ts'

/** Whom the guards trust, and what the addressed route serves besides calls by script. */
export interface GuardPolicy {
  /** Serialized origins (RFC 6454 section 6.2) of the single-page applications. */
  readonly trustedOrigins: ReadonlySet<string>
  /** Whether agent and proxy themselves are under a trusted origin, that is, serve the SPA's own host. */
  readonly ownOriginTrusted: boolean
  /** The route may be opened as a page of its own, such as a download. */
  readonly navigable?: boolean
  /** The route may be shown in a frame. */
  readonly embeddable?: boolean
  /** Demand `token-handler-version: 1` for GET and HEAD too, as the agent does. */
  readonly headerAlwaysRequired?: boolean
}

export interface GuardedRequest {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  /** A WebSocket handshake: browsers send neither Fetch Metadata nor custom headers with it. */
  readonly isUpgrade?: boolean
}

/** Every value of Sec-Fetch-Site but `cross-site`; one that we do not know counts as that. */
const knownSites = new Set(['same-origin', 'same-site', 'none'])
const scriptDestinations = new Set(['empty', 'image', 'audio', 'video', 'font', 'track'])

/**
 * Judges where a request comes from, before anything of it is used (cross-site request forgery, cross-origin reads).
 * Fetch Metadata (W3C) can only refuse: a forged header gains nothing.
 * @returns The code that names the missing or refused evidence, or `undefined` when the source is trusted.
 */
export function refuseSource(
  { method, headers, isUpgrade }: GuardedRequest,
  policy: GuardPolicy,
): ErrorCode | undefined {
  const origin = headers.origin
  // 1. Exactly one trusted origin, or none: `null`, lists and the empty string are untrusted.
  if (origin !== undefined && !policy.trustedOrigins.has(origin)) return 'untrusted_origin'
  // 2. Nothing else protects a WebSocket handshake.
  if (isUpgrade === true) return origin === undefined ? 'missing_origin' : undefined
  // 3. A static header that no form, link or image can carry.
  const hasHeader = headers['token-handler-version'] === '1'
  const isSafe = method === 'GET' || method === 'HEAD'
  if (!hasHeader && (!isSafe || policy.headerAlwaysRequired === true)) return 'missing_header'
  // 4. What the browser says about the request.
  const site = headers['sec-fetch-site']
  const isNavigation = site === 'none' && headers['sec-fetch-mode'] === 'navigate' && policy.navigable === true
  if (site === 'none' && !isNavigation) return 'untrusted_destination'
  if (site !== undefined && !knownSites.has(site)) return 'cross_site'
  if (!isServedDestination(headers['sec-fetch-dest'], policy)) return 'untrusted_destination'
  if (headers['service-worker'] !== undefined || isPrefetch(headers)) return 'untrusted_destination'
  // 5. At least one piece of evidence for a trusted source.
  if (origin !== undefined || isNavigation) return undefined
  if (site === 'same-origin' && policy.ownOriginTrusted) return undefined
  if (headers.referer !== undefined) {
    return policy.trustedOrigins.has(originOf(headers.referer)) ? undefined : 'missing_origin'
  }
  // Old browsers and tools send none of the three; the header shows that no other site's page made the request.
  return site === undefined && hasHeader ? undefined : 'missing_origin'
}

function isServedDestination(destination: string | string[] | undefined, policy: GuardPolicy): boolean {
  if (destination === undefined) return true
  if (typeof destination !== 'string') return false
  if (destination === 'document') return policy.navigable === true
  if (destination === 'iframe') return policy.embeddable === true
  return scriptDestinations.has(destination)
}

function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return saysPrefetch(headers['sec-purpose']) || saysPrefetch(headers['purpose']) || saysPrefetch(headers['x-moz'])
}

function saysPrefetch(purpose: string | string[] | undefined): boolean {
  return purpose !== undefined && String(purpose).includes('prefetch')
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : 'null'
}
