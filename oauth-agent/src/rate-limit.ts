import type { Request, RequestHandler, Response } from 'express'
import { ipKeyGenerator, rateLimit, type AugmentedRequest, type Store } from 'express-rate-limit'
import { TokenHandlerError, type Clock, type Logger, type Peers } from '@token-handler/shared'

/** How many requests of one client address are served in one window of time. */
export interface RateLimit {
  readonly requests: number
  readonly windowSeconds: number
}

export interface RateLimitDeps {
  readonly peers: Peers
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Counts requests by the client address that the peer, or a trusted proxy, tells, and answers those over the limit 429
 * `too_many_requests` with `Retry-After`. IPv6 addresses count by their /56: a customer has at least that many to choose
 * from. The log names an address once a window, and says if an `X-Forwarded-For` was ignored: then all clients of a proxy
 * in front that is not configured may share one limit.
 */
export function limitByAddress(limit: RateLimit | undefined, { peers, clock, logger }: RateLimitDeps): RequestHandler {
  if (limit === undefined) return (_req, _res, next) => next()
  const windowMs = limit.windowSeconds * 1000
  return rateLimit({
    windowMs,
    limit: limit.requests,
    store: createCounts(windowMs, clock),
    keyGenerator: (req) => ipKeyGenerator(peers.clientAddressOf(req)),
    handler(req, _res, next) {
      const { used, resetTime } = (req as AugmentedRequest)['rateLimit'] ?? { used: 0 }
      if (used === limit.requests + 1) {
        const ignoredForwardedFor = req.headers['x-forwarded-for'] !== undefined && !peers.peerOf(req).isTrustedProxy
        const address = peers.clientAddressOf(req)
        logger.warn({ event: 'rate_limited', address, ignoredForwardedFor, ...limit }, 'An address asks too often.')
      }
      const leftMs = (resetTime?.getTime() ?? clock.now()) - clock.now()
      next(new TokenHandlerError('too_many_requests', { retryAfterSeconds: Math.max(1, Math.ceil(leftMs / 1000)) }))
    },
    legacyHeaders: false,
    standardHeaders: false,
    // Checks of uses that this is not; they would write to the console.
    validate: false,
  })
}

/** For calls that are answered in any case: counts one, and tells whether its address is still within the limit. */
export function isWithin(limited: RequestHandler): (req: Request, res: Response) => Promise<boolean> {
  return (req, res) =>
    new Promise((resolve) => {
      void limited(req, res, (refusal?: unknown) => resolve(refusal === undefined))
    })
}

/** Addresses that are counted at most; beyond that, the one that came first starts anew. */
const maxAddresses = 65_536

interface Count {
  hits: number
  /** On the clock that never jumps. */
  endsAt: number
}

/** Counts of keys, each in a window that begins with its first. */
export interface Counts extends Store {
  increment(key: string): { totalHits: number; resetTime: Date }
}

/** The library's own store grows without bound between two ticks of a timer, and follows the wall clock. */
export function createCounts(windowMs: number, clock: Clock): Counts {
  const counts = new Map<string, Count>()
  return {
    localKeys: true,
    increment(key) {
      const now = clock.monotonic()
      let count = counts.get(key)
      if (count === undefined || count.endsAt <= now) {
        // To the end of the map, where the youngest are.
        counts.delete(key)
        if (counts.size >= maxAddresses) counts.delete(counts.keys().next().value ?? '')
        count = { hits: 0, endsAt: now + windowMs }
        counts.set(key, count)
      }
      count.hits += 1
      return { totalHits: count.hits, resetTime: new Date(clock.now() + count.endsAt - now) }
    },
    decrement(key) {
      const count = counts.get(key)
      if (count !== undefined) count.hits -= 1
    },
    resetKey: (key) => void counts.delete(key),
  }
}
