import { getPublicSuffix } from 'tldts'
import { parseCookieDate, parseSetCookie, type ParsedCookie, type Refusal } from './set-cookie.ts'

/** A cookie that is kept. Instants are milliseconds since the epoch. */
export interface StoredCookie {
  name: string
  value: string
  domain: string
  hostOnly: boolean
  path: string
  secure: boolean
  httpOnly: boolean
  sameSite: 'Strict' | 'Lax' | 'None' | 'Default'
  /** Infinity for a session cookie. */
  expiresAt: number
  createdAt: number
  lastAccessAt: number
}

/** Where a request comes from; without it: from a page of the same site. */
export interface RequestOrigin {
  /** The page that started the request, or a redirect before it, is of another site. */
  crossSite?: boolean
  /** The request navigates the whole window, as a link does. */
  topLevel?: boolean
  /** Default GET. */
  method?: string
}

const DAY_MS = 86_400_000
const MAX_AGE_MS = 400 * DAY_MS

/**
 * A browser's cookie store for tests over HTTP: what a browser refuses is refused here, and what it would not send is not
 * sent (draft-ietf-httpbis-rfc6265bis section 5, and the `__Http-` prefixes of draft-ietf-httpbis-layered-cookies). Like
 * Chromium it takes plain http on loopback for secure.
 */
export class CookieJar {
  /** What was refused, and why, oldest first. */
  readonly refused: { line: string; reason: Refusal }[] = []
  readonly #now: () => number
  readonly #maxPerDomain: number
  #cookies: StoredCookie[] = []
  #creations = 0

  /**
   * @param options.now Clock in milliseconds. Default: the system's.
   * @param options.maxPerDomain Beyond it the least recently used ones leave. Default 180, as in Chromium; no browser keeps fewer than 50.
   */
  constructor({ now = Date.now, maxPerDomain = 180 }: { now?: () => number; maxPerDomain?: number } = {}) {
    this.#now = now
    this.#maxPerDomain = maxPerDomain
  }

  /** Takes the Set-Cookie lines of an answer, as from `Headers.getSetCookie()` or `headers['set-cookie']`. */
  store(url: string | URL, setCookieLines: readonly string[] | undefined, origin: RequestOrigin = {}): void {
    for (const line of setCookieLines ?? []) {
      const reason = this.#storeLine(new URL(url), line, origin)
      if (reason !== undefined) this.refused.push({ line, reason })
    }
  }

  /** The Cookie header of a request; empty when there is none to send. */
  header(url: string | URL, origin: RequestOrigin = {}): string {
    const target = new URL(url)
    const sent = this.#live()
      .filter((cookie) => matchesDomain(cookie, target.hostname) && matchesPath(cookie.path, target.pathname))
      .filter((cookie) => (!cookie.secure || isSecure(target)) && isSentFrom(cookie, origin))
      .toSorted((a, b) => b.path.length - a.path.length || a.createdAt - b.createdAt)
    for (const cookie of sent) cookie.lastAccessAt = this.#now()
    return sent.map(({ name, value }) => (name === '' ? value : `${name}=${value}`)).join('; ')
  }

  /** Names of all live cookies, of any host and path, in order of creation. */
  names(): string[] {
    return this.#live().map((cookie) => cookie.name)
  }

  /** The live cookies of a name, any host and path. */
  get(name: string): StoredCookie[] {
    return this.#live().filter((cookie) => cookie.name === name)
  }

  /** A copy of everything kept, for `restore`: what a thief takes, or a backup brings back. */
  snapshot(): StoredCookie[] {
    return structuredClone(this.#cookies)
  }

  /** Replaces everything by a snapshot. */
  restore(snapshot: readonly StoredCookie[]): void {
    this.#cookies = structuredClone([...snapshot])
  }

  /** Ends the browser session: cookies without an expiry leave. */
  closeBrowser(): void {
    this.#cookies = this.#cookies.filter((cookie) => cookie.expiresAt !== Infinity)
  }

  #storeLine(url: URL, line: string, origin: RequestOrigin): Refusal | undefined {
    const parsed = parseSetCookie(line)
    if (typeof parsed === 'string') return parsed
    const cookie = this.#cookieFrom(url, parsed)
    const refusal =
      refuseDomain(cookie, url) ??
      this.#refuseSecure(cookie, url) ??
      refuseSameSite(cookie, origin) ??
      refusePrefix(cookie, parsed)
    if (refusal !== undefined) return refusal
    const old = this.#cookies.find((other) => isSameSlot(other, cookie))
    this.#cookies = this.#cookies.filter((other) => other !== old)
    if (cookie.expiresAt > this.#now()) this.#cookies.push({ ...cookie, createdAt: old?.createdAt ?? cookie.createdAt })
    this.#evict(cookie.domain)
    return undefined
  }

  #cookieFrom(url: URL, { name, value, attributes }: ParsedCookie): StoredCookie {
    const domain = (attributes.get('domain') ?? '').replace(/^\./, '').toLowerCase()
    // A public suffix names nobody, except the very host that is one (`localhost`).
    const hostOnly = domain === '' || (domain === url.hostname && isPublicSuffix(domain))
    return {
      name,
      value,
      domain: hostOnly ? url.hostname : domain,
      hostOnly,
      path: pathFrom(url, attributes.get('path')),
      secure: attributes.has('secure'),
      httpOnly: attributes.has('httponly'),
      sameSite: sameSiteFrom(attributes.get('samesite')),
      expiresAt: this.#expiryFrom(attributes),
      // A number that only grows: two cookies of one answer are created in the same millisecond.
      createdAt: ++this.#creations,
      lastAccessAt: this.#now(),
    }
  }

  #expiryFrom(attributes: ReadonlyMap<string, string>): number {
    const now = this.#now()
    const maxAge = attributes.get('max-age')
    if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) {
      return Number(maxAge) <= 0 ? -Infinity : now + Math.min(Number(maxAge) * 1000, MAX_AGE_MS)
    }
    const expires = parseCookieDate(attributes.get('expires') ?? '')
    return expires === undefined ? Infinity : Math.min(expires, now + MAX_AGE_MS)
  }

  #refuseSecure(cookie: StoredCookie, url: URL): Refusal | undefined {
    if (isSecure(url)) return undefined
    if (cookie.secure) return 'secure_over_http'
    const shadows = this.#live().some(
      (other) =>
        other.secure &&
        other.name === cookie.name &&
        (isInDomain(other.domain, cookie.domain) || isInDomain(cookie.domain, other.domain)) &&
        matchesPath(other.path, cookie.path),
    )
    return shadows ? 'overwrites_secure' : undefined
  }

  #evict(domain: string): void {
    const here = this.#live().filter((cookie) => cookie.domain === domain)
    const leaving = here
      .toSorted((a, b) => Number(a.secure) - Number(b.secure) || a.lastAccessAt - b.lastAccessAt)
      .slice(0, Math.max(0, here.length - this.#maxPerDomain))
    this.#cookies = this.#cookies.filter((cookie) => !leaving.includes(cookie))
  }

  #live(): StoredCookie[] {
    this.#cookies = this.#cookies.filter((cookie) => cookie.expiresAt > this.#now())
    return this.#cookies
  }
}

function refuseDomain(cookie: StoredCookie, url: URL): Refusal | undefined {
  if (cookie.hostOnly) return undefined
  if (isPublicSuffix(cookie.domain)) return 'public_suffix'
  return isInDomain(url.hostname, cookie.domain) ? undefined : 'foreign_domain'
}

function refuseSameSite(
  cookie: StoredCookie,
  { crossSite = false, topLevel = false }: RequestOrigin,
): Refusal | undefined {
  if (cookie.sameSite === 'None') return cookie.secure ? undefined : 'same_site_none_without_secure'
  return crossSite && !topLevel ? 'same_site_from_cross_site' : undefined
}

/** Names are compared without regard to case; a nameless cookie whose value looks like a prefix is sent as one. */
function refusePrefix(cookie: StoredCookie, { attributes }: ParsedCookie): Refusal | undefined {
  const name = (cookie.name === '' ? cookie.value : cookie.name).toLowerCase()
  const isHttp = cookie.secure && cookie.httpOnly
  const isHost =
    cookie.secure && cookie.hostOnly && !attributes.has('domain') && attributes.has('path') && cookie.path === '/'
  const rules: [string, boolean][] = [
    ['__host-http-', isHttp && isHost],
    ['__host-', isHost],
    ['__http-', isHttp],
    ['__secure-', cookie.secure],
  ]
  const rule = rules.find(([prefix]) => name.startsWith(prefix))
  if (rule === undefined) return undefined
  return cookie.name !== '' && rule[1] ? undefined : 'prefix'
}

function isSentFrom({ sameSite }: StoredCookie, origin: RequestOrigin): boolean {
  const { crossSite = false, topLevel = false, method = 'GET' } = origin
  if (!crossSite || sameSite === 'None') return true
  return sameSite !== 'Strict' && topLevel && ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method)
}

function isSameSlot(a: StoredCookie, b: StoredCookie): boolean {
  return a.name === b.name && a.domain === b.domain && a.hostOnly === b.hostOnly && a.path === b.path
}

function matchesDomain(cookie: StoredCookie, host: string): boolean {
  return cookie.hostOnly ? cookie.domain === host : isInDomain(host, cookie.domain)
}

function isInDomain(host: string, domain: string): boolean {
  return host === domain || (host.endsWith(`.${domain}`) && !/^[\d.]+$|^\[/.test(host))
}

function isPublicSuffix(domain: string): boolean {
  return getPublicSuffix(domain, { allowPrivateDomains: true }) === domain
}

function matchesPath(cookiePath: string, requestPath: string): boolean {
  if (requestPath === cookiePath) return true
  return requestPath.startsWith(cookiePath) && (cookiePath.endsWith('/') || requestPath[cookiePath.length] === '/')
}

function pathFrom(url: URL, attribute: string | undefined): string {
  if (attribute?.startsWith('/')) return attribute
  const lastSlash = url.pathname.lastIndexOf('/')
  return lastSlash <= 0 ? '/' : url.pathname.slice(0, lastSlash)
}

function sameSiteFrom(attribute: string | undefined): StoredCookie['sameSite'] {
  const known = ['Strict', 'Lax', 'None'] as const
  return known.find((value) => value.toLowerCase() === attribute?.toLowerCase()) ?? 'Default'
}

function isSecure(url: URL): boolean {
  return url.protocol === 'https:' || /^(.+\.)?localhost$|^127\.|^\[::1\]$/.test(url.hostname)
}
