import { clientFingerprint, fingerprintHeaders } from './client-fingerprint.ts'
import { networkPrefix, type PrefixLengths } from './network.ts'
import type { Peers, ReceivedRequest } from './peer.ts'

export type ContextPolicy = 'off' | 'report' | 'deny'

/** What a session is bound to, and what becomes of a request that comes from somewhere else. */
export interface ContextOptions {
  readonly network: ContextPolicy
  readonly prefixLengths: PrefixLengths
  readonly client: ContextPolicy
}

/** Where a login came from, as the session's cookies hold it. A fact that is not there binds to nothing. */
export interface ContextFacts {
  /** Network, such as `203.0.113.0/24`. */
  readonly n?: string
  /** Kind of browser; see {@link clientFingerprint}. */
  readonly c?: string
}

/** A request that comes from somewhere else than the login of its session. */
export interface ContextChange {
  /** What differs: `network`, `client`, or both. */
  readonly reason: string
  /** The differing facts of the login, and of the request. */
  readonly expected: string
  readonly seen: string
  readonly isDenied: boolean
  /** Whether this session was seen there before: reported once, not with every request. */
  readonly isNew: boolean
}

export interface ContextBinding {
  factsOf(req: ReceivedRequest): ContextFacts
  /** @param bound What the session is bound to; nothing where its cookies are from a time before the binding. */
  judge(bound: ContextFacts | undefined, sid: string, req: ReceivedRequest): ContextChange | undefined
}

/** Changes, addresses and headers that are remembered; beyond that, the oldest are forgotten. */
const mostRemembered = 10_000
/** Longer headers are read anew each time. */
const longestRemembered = 1024

/** @returns `undefined` when everything is off, so that it costs nothing. */
export function createContextBinding(
  { network, client, prefixLengths }: ContextOptions,
  { clientAddressOf }: Pick<Peers, 'clientAddressOf'>,
): ContextBinding | undefined {
  if (network === 'off' && client === 'off') return undefined
  const networks = remembered((address) => networkPrefix(address, prefixLengths))
  const reported = new Map<string, true>()
  const clients = new Map<string, string>()

  function networkOf(req: ReceivedRequest): string | undefined {
    return network === 'off' ? undefined : networks(clientAddressOf(req))
  }

  function clientOf({ headers }: ReceivedRequest): string | undefined {
    if (client === 'off') return undefined
    const key = fingerprintHeaders.map((name) => headers[name] ?? '').join('\n')
    if (key.length > longestRemembered) return clientFingerprint(headers)
    let fingerprint = clients.get(key)
    if (fingerprint === undefined) {
      fingerprint = clientFingerprint(headers)
      keep(clients, key, fingerprint)
    }
    return fingerprint
  }

  /** Sessions that were bound while other lengths were configured cannot be judged by these. */
  function isComparable(bound: string | undefined): boolean {
    return bound?.endsWith(`/${bound.includes(':') ? prefixLengths.ipv6 : prefixLengths.ipv4}`) === true
  }

  function differing(bound: ContextFacts, req: ReceivedRequest) {
    return [
      { what: 'network', policy: network, expected: isComparable(bound.n) ? bound.n : undefined, seen: networkOf(req) },
      { what: 'client', policy: client, expected: bound.c, seen: clientOf(req) },
    ].filter(
      (fact) =>
        fact.policy !== 'off' && fact.expected !== undefined && fact.seen !== undefined && fact.expected !== fact.seen,
    )
  }

  return {
    factsOf(req) {
      const [n, c] = [networkOf(req), clientOf(req)]
      return { ...(n === undefined ? {} : { n }), ...(c === undefined ? {} : { c }) }
    },
    judge(bound, sid, req) {
      if (bound === undefined) return undefined
      const changed = differing(bound, req)
      if (changed.length === 0) return undefined
      const seen = changed.map((fact) => fact.seen).join(', ')
      const key = `${sid} ${seen}`
      const isNew = !reported.has(key)
      if (isNew) keep(reported, key, true)
      return {
        reason: changed.map(({ what }) => what).join('_and_'),
        expected: changed.map(({ expected }) => expected).join(', '),
        seen,
        isDenied: changed.some(({ policy }) => policy === 'deny'),
        isNew,
      }
    },
  }
}

function remembered<Value>(work: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, { readonly value: Value }>()
  return (text) => {
    let entry = known.get(text)
    if (entry === undefined) {
      entry = { value: work(text) }
      keep(known, text, entry)
    }
    return entry.value
  }
}

function keep<Value>(map: Map<string, Value>, key: string, value: Value): void {
  if (map.size >= mostRemembered) map.delete(map.keys().next().value ?? '')
  map.set(key, value)
}
