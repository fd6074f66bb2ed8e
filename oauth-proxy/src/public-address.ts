import { isIP } from 'node:net'
import { parseRequestTarget } from './canonical-path.ts'
import { publicTarget, type Route, type RouteTable } from './routes.ts'

/** What turns an address that an API gives into one that a browser can use. */
export interface AddressSpace {
  readonly routes: RouteTable
  /** Origins of all APIs: no browser learns them. */
  readonly upstreamOrigins: ReadonlySet<string>
  readonly publicOrigin: string
}

/** The request whose answer holds the address. */
export interface AskedFor {
  readonly route: Route
  /** Path and query as the API got them. */
  readonly sentTarget: string
}

/**
 * The browser's form of a `Location` (RFC 9110 section 10.2.2): the API's own addresses become public paths, foreign ones
 * pass, and what leads inside or out of our routes is dropped (`undefined`).
 */
export function publicLocation(value: string, asked: AskedFor, space: AddressSpace): string | undefined {
  const base = asked.route.upstreamPool.origin
  const address = escapeBytes(value)
  if (!URL.canParse(address, base + asked.sentTarget)) return undefined
  const { origin, pathname, search, hash, username, password, hostname, protocol, href } = new URL(
    address,
    base + asked.sentTarget,
  )
  if (origin === base) {
    const path = publicTarget(asked.route, pathname)
    return path !== undefined && isServed(path + search, space) ? path + search + hash : undefined
  }
  if (origin === space.publicOrigin) return isServed(pathname + search, space) ? pathname + search + hash : undefined
  if (protocol !== 'https:' && protocol !== 'http:') return undefined
  if (username !== '' || password !== '' || space.upstreamOrigins.has(origin) || isInside(hostname)) return undefined
  return href
}

/** A header comes as one character a byte; `URL` would take each byte beyond ASCII for a character, and encode it as UTF-8. */
function escapeBytes(value: string): string {
  return value.replaceAll(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`)
}

function isServed(target: string, { routes }: AddressSpace): boolean {
  const parsed = parseRequestTarget(target, '')
  return parsed !== undefined && routes.match(parsed.path).found === 'route'
}

/** Hosts that no browser outside can mean: addresses of private networks, names without a dot, names of special use (RFC 6761). */
function isInside(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const family = isIP(host)
  if (family === 4) return isPrivateAddress(host)
  if (family === 6) return !/^[23]/.test(host)
  return (
    !host.includes('.') || /\.(?:internal|local|localhost|lan|home|corp|intranet|private|svc|arpa|test)$/.test(host)
  )
}

function isPrivateAddress(address: string): boolean {
  const [a = 0, b = 0] = address.split('.').map(Number)
  return (
    a === 0 ||
    a === 10 ||
    a === 127 ||
    a >= 224 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168)
  )
}

/** Relations that only tell a script where to go on (RFC 8288); `preload`, `preconnect` and the like would act on the page. */
const harmlessRelations = new Set(['next', 'prev', 'previous', 'first', 'last', 'self', 'up', 'item', 'collection'])
const link = /[ \t,]*<([^<>"\s]*)>[ \t]*;[ \t]*rel="?([\w -]+)"?[ \t]*/y
const maxLinkLength = 8192

/** The links of an answer that say where to page on, with public addresses; `undefined` when none is left. */
export function publicLinks(value: string, asked: AskedFor, space: AddressSpace): string | undefined {
  if (value.length > maxLinkLength) return undefined
  const links: string[] = []
  let end = 0
  link.lastIndex = 0
  for (let match = link.exec(value); match !== null; match = link.exec(value)) {
    end = link.lastIndex
    const [, target = '', relations = ''] = match
    if (!relations.split(' ').every((relation) => harmlessRelations.has(relation.toLowerCase()))) continue
    const address = publicLocation(target, asked, space)
    if (address !== undefined) links.push(`<${address}>; rel="${relations}"`)
  }
  // Anything that is not understood to its end is dropped as a whole.
  return end < value.length || links.length === 0 ? undefined : links.join(', ')
}
