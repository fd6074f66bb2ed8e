import type { Clock } from '@token-handler/shared'

/** A bucket of this many requests, which fills up evenly in this time. */
export interface RateLimit {
  readonly requests: number
  readonly windowSeconds: number
}

/** Takes a request from the bucket of a key. Returns 0, or the seconds to wait when the bucket is empty. */
export type RateLimiter = (key: string) => number

/** Buckets that are kept; beyond that, the oldest one is forgotten, which is to say full. */
const maxBuckets = 65_536
/** A thousandth of a millisecond, for what floating-point numbers lose in a sum. */
const roundingMs = 0.001

/**
 * Token buckets, each kept as the one moment at which it is full again: no timer and no sweep, and below a microsecond a
 * request. Requests that are refused take nothing.
 */
export function createRateLimiter({ requests, windowSeconds }: RateLimit, clock: Clock): RateLimiter {
  const windowMs = windowSeconds * 1000
  const onceEachMs = windowMs / requests
  const fullAt = new Map<string, number>()
  return (key) => {
    const now = clock.monotonic()
    const known = fullAt.get(key)
    const next = (known === undefined || known < now ? now : known) + onceEachMs
    const waitMs = next - now - windowMs
    if (waitMs > roundingMs) return Math.ceil(waitMs / 1000)
    if (known === undefined && fullAt.size >= maxBuckets) fullAt.delete(fullAt.keys().next().value ?? '')
    fullAt.set(key, next)
    return 0
  }
}

/** What one client has of addresses: an IPv4 address, or the /56 of an IPv6 address in hexadecimal digits. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const [a = '', b = '', c = '', d = ''] = leadingGroups(address)
  return `${hex(a)}:${hex(b)}:${hex(c)}:${hex(d.slice(0, -2))}`
}

/** The first four of eight groups. */
function leadingGroups(address: string): string[] {
  const groups = address.split(':', 4)
  if (groups.length === 4 && !groups.includes('')) return groups
  const [head = '', tail = ''] = address.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === '' ? [] : tail.split(':')
  // Dotted decimals at the end stand for two groups.
  const length = first.length + last.length + (tail.includes('.') ? 1 : 0)
  return [...first, ...Array.from({ length: Math.max(0, 8 - length) }, () => '0'), ...last].slice(0, 4)
}

/** One way to write a group: small letters, no zeros in front. */
function hex(group: string): string {
  const small = group.toLowerCase()
  return small.startsWith('0') ? small.replace(/^0+/, '') : small
}
