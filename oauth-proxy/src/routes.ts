import type { GuardPolicy } from '@token-handler/shared'
import type { OAuthProxyOptions, RouteOptions } from './options.ts'
import { Outcomes } from './outcomes.ts'
import type { Upstream, Upstreams } from './upstreams.ts'
import { createWebSocketProxy, type UpgradeUpstream } from './websocket-proxy.ts'

/** A route as requests use it: everything that does not depend on the request is worked out once. */
export interface Route extends RouteOptions {
  readonly upstreamPool: Upstream
  /** The way of WebSockets; `undefined` where there are none. */
  readonly upgrade: UpgradeUpstream | undefined
  readonly allowedMethods: ReadonlySet<string>
  /** Value of `Allow` (RFC 9110 section 10.2.1). */
  readonly allow: string
  readonly forwardedCookies: ReadonlySet<string>
  readonly guardPolicy: GuardPolicy
  readonly outcomes: Outcomes
}

interface Node {
  readonly children: Map<string, Node>
  /** The children's names as a server sees them that ignores case and forms of letters, dots and spaces at the end, or what follows `#` and `?`. */
  readonly foldedNames: Set<string>
  /** Of the route that has this very path. */
  match?: RouteMatch
}

export type RouteMatch =
  | { readonly found: 'route'; readonly route: Route }
  /** No route: default deny. */
  | { readonly found: 'nothing' }
  /** A careless server would take the path for that of a longer route, with another policy. */
  | { readonly found: 'ambiguous' }

const nothing: RouteMatch = { found: 'nothing' }
const ambiguous: RouteMatch = { found: 'ambiguous' }

/** Finds the longest route whose path is the given one or a parent of it. Costs as much for a thousand routes as for ten. */
export class RouteTable {
  readonly #root: Node = { children: new Map(), foldedNames: new Set() }

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      let node = this.#root
      for (const segment of route.path.split('/').filter((name) => name !== '')) {
        let child = node.children.get(segment)
        if (child === undefined) {
          child = { children: new Map(), foldedNames: new Set() }
          node.children.set(segment, child)
          node.foldedNames.add(fold(segment))
        }
        node = child
      }
      if (node.match !== undefined) throw new TypeError(`two routes have the path ${route.path}`)
      node.match = { found: 'route', route }
    }
  }

  /** @param path A canonical path. */
  match(path: string): RouteMatch {
    let node = this.#root
    let longest = node.match
    let start = 1
    while (node.children.size > 0 && start < path.length) {
      const slash = path.indexOf('/', start)
      const segment = slash === -1 ? path.slice(start) : path.slice(start, slash)
      const child = node.children.get(segment)
      if (child === undefined) {
        if (longest !== undefined && node.foldedNames.has(fold(segment))) return ambiguous
        break
      }
      node = child
      longest = node.match ?? longest
      if (slash === -1) break
      start = slash + 1
    }
    return longest ?? nothing
  }

  /**
   * Whether a target that is not canonical starts like one of the routes. Where others answer the paths that are no
   * route's, such a target must not become theirs.
   */
  claims(target: string): boolean {
    const match = this.match(target.split('?', 1)[0] ?? '')
    return match.found !== 'nothing'
  }
}

function fold(segment: string): string {
  const delimiter = segment.search(/%23|%3f/i)
  let end = delimiter === -1 ? segment.length : delimiter
  for (;;) {
    if (segment.endsWith('.', end)) end -= 1
    else if (segment.endsWith('%20', end)) end -= 3
    else return foldLetters(segment.slice(0, end))
  }
}

/** Beyond ASCII there are letters that case or compatibility makes equal to ours: the Kelvin sign, the long s, fullwidth forms. */
function foldLetters(text: string): string {
  if (!text.includes('%')) return text.toLowerCase()
  try {
    return decodeURIComponent(text).normalize('NFKC').toUpperCase().toLowerCase()
  } catch {
    // Broken escapes: no canonical path has any.
    return text.toLowerCase()
  }
}

/** The path that the API gets for a public one: `base + rest`, so it cannot leave the configured base. */
export function upstreamTarget({ path, upstreamPath }: RouteOptions, publicPath: string): string {
  if (upstreamPath === undefined) return publicPath
  const rest = publicPath.slice(path === '/' ? 0 : path.length)
  return (upstreamPath === '/' ? rest : upstreamPath + rest) || '/'
}

/** The other way round, for addresses that the API gives; `undefined` when the path is not below its base. */
export function publicTarget({ path, upstreamPath }: RouteOptions, sentPath: string): string | undefined {
  if (upstreamPath === undefined) return sentPath
  const base = upstreamPath === '/' ? '' : upstreamPath
  if (!sentPath.startsWith(base)) return undefined
  const rest = sentPath.slice(base.length)
  if (rest !== '' && !rest.startsWith('/')) return undefined
  return (path === '/' ? rest : path + rest) || '/'
}

const methodToken = /^[A-Z]+$/
/** CONNECT asks for a tunnel; TRACE sends back what it was sent, bearer token included (RFC 9110 section 9.3.8). */
const neverAllowed = new Set(['CONNECT', 'TRACE'])
const routePath = /^(?:\/|(?:\/[A-Za-z0-9._~-]+)+)$/
/** What may stand in a quoted parameter of a challenge. */
const quotable = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/

/** @throws TypeError when a route is not as its options say. */
export function compileRoutes(
  { routes, trustedOrigins, publicOrigin }: Pick<OAuthProxyOptions, 'routes' | 'trustedOrigins' | 'publicOrigin'>,
  upstreams: Upstreams,
): Route[] {
  const ownOriginTrusted = trustedOrigins.has(publicOrigin)
  const sets = new Shared((names: readonly string[]): ReadonlySet<string> => new Set(names))
  const lists = new Shared((names: readonly string[]) => names)
  const guardPolicies = new Shared((flags: Pick<RouteOptions, 'navigable' | 'embeddable'>): GuardPolicy => {
    return { trustedOrigins, ownOriginTrusted, ...flags }
  })
  return routes.map((options) => {
    const problem = findProblem(options)
    if (problem !== undefined) throw new TypeError(`route ${options.path}: ${problem}`)
    return {
      ...options,
      upstreamPool: upstreams.of(options),
      upgrade:
        options.webSocket === true
          ? createWebSocketProxy({ ...options, origin: new URL(options.upstream).origin })
          : undefined,
      scopes: lists.of(options.scopes),
      acrValues: lists.of(options.acrValues),
      allowedMethods: sets.of(options.methods),
      allow: options.methods.join(', '),
      forwardedCookies: sets.of(options.forwardCookies),
      guardPolicy: guardPolicies.of({ navigable: options.navigable, embeddable: options.embeddable }),
      outcomes: new Outcomes(),
    }
  })
}

/** One value for all routes that say the same, so that those of a thousand routes stay in the processor's caches. */
class Shared<Key, Value> {
  readonly #values = new Map<string, Value>()
  readonly #make: (key: Key) => Value

  constructor(make: (key: Key) => Value) {
    this.#make = make
  }

  of(key: Key): Value {
    const text = JSON.stringify(key)
    const known = this.#values.get(text)
    if (known !== undefined) return known
    const made = this.#make(key)
    this.#values.set(text, made)
    return made
  }
}

function findProblem({ path, upstreamPath, methods, scopes, acrValues }: RouteOptions): string | undefined {
  if (!isCanonical(path)) return 'the path is not canonical'
  if (upstreamPath !== undefined && !isCanonical(upstreamPath)) return 'the upstream path is not canonical'
  if (methods.some((method) => !methodToken.test(method) || neverAllowed.has(method))) {
    return 'a method cannot be allowed'
  }
  if ([...scopes, ...acrValues].some((text) => !quotable.test(text))) return 'a scope or acr value has odd characters'
  return undefined
}

function isCanonical(path: string): boolean {
  return routePath.test(path) && !path.split('/').some((segment) => segment === '.' || segment === '..')
}
