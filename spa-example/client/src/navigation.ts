import { TokenHandlerClientError } from './errors.ts'

/** Is this host name the machine itself (RFC 6761 section 6.3, RFC 8252 section 8.3)? */
export function isLoopback(hostname: string): boolean {
  return /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname)
}

/**
 * A URL that the page may be sent to: https, or http on loopback, without credentials. It keeps `javascript:` and
 * friends out, should the answer of an agent ever be under someone else's influence.
 * @throws TokenHandlerClientError `unsafe_url`
 */
export function navigableUrl(value: unknown, base: URL): string {
  const url = typeof value === 'string' ? parseUrl(value, base) : undefined
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))
  if (url === undefined || !secure || url.username !== '' || url.password !== '') {
    throw new TokenHandlerClientError('unsafe_url', 'The agent answered with a URL that this page must not open.')
  }
  return url.href
}

/**
 * A path of this origin, or undefined for anything that could lead elsewhere (RFC 9700 section 4.11).
 * The parsed result is judged again: `/.//evil.example` is harmless as written and a foreign host once normalised.
 */
export function sameOriginPath(value: unknown, origin: string = location.origin): string | undefined {
  if (typeof value !== 'string' || !isPlainPath(value)) return undefined
  const url = parseUrl(value, origin)
  const path = url === undefined ? '' : url.pathname + url.search + url.hash
  return url?.origin === origin && isPlainPath(path) ? path : undefined
}

// Browsers drop tabs and newlines and read `\` as `/`; an encoded one is refused for the sake of whatever decodes it next.
function isPlainPath(value: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /^\/(?![/\\]|%(?:2f|5c|[01]))[^\\\u0000-\u001f\u007f]*$/i.test(value)
}

function parseUrl(value: string, base: string | URL): URL | undefined {
  try {
    return new URL(value, base)
  } catch {
    return undefined
  }
}
