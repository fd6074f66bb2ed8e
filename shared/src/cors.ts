import type { IncomingHttpHeaders } from 'node:http'

/** Answer headers that scripts of another trusted origin may read. */
const exposedHeaders = 'Retry-After, WWW-Authenticate'
/** Seconds that a browser may remember a preflight's answer. */
const preflightMaxAgeSeconds = 600
const headerNames = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*$/

/**
 * CORS headers (Fetch standard, "HTTP responses") for the answer to a request from `origin`: errors get them as well,
 * else the SPA cannot read why. Nothing is reflected that is not configured.
 */
export function corsHeaders(origin: string | undefined, trustedOrigins: ReadonlySet<string>): Record<string, string> {
  if (origin === undefined || !trustedOrigins.has(origin)) return { vary: 'Origin' }
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': exposedHeaders,
  }
}

/** Whether this is a CORS preflight (Fetch standard, "CORS-preflight request"), which we answer ourselves. */
export function isPreflight(method: string, headers: IncomingHttpHeaders): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}

/** Headers of the answer to a preflight from a trusted origin, besides {@link corsHeaders}. */
export function preflightHeaders(
  methods: readonly string[],
  requestedHeaders: string | undefined,
): Record<string, string> {
  return {
    'access-control-allow-methods': methods.join(', '),
    ...(requestedHeaders !== undefined && requestedHeaders.length <= 1024 && headerNames.test(requestedHeaders)
      ? { 'access-control-allow-headers': requestedHeaders }
      : {}),
    'access-control-max-age': String(preflightMaxAgeSeconds),
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  }
}
