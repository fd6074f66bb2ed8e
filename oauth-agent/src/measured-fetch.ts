import { Counter, exposeGauge, Histogram, type Clock, type Registry } from '@token-handler/shared'
import { boundedFetch, UnansweredError, type BoundedAnswer, type BoundedRequest } from './bounded-fetch.ts'

/** What the authorization server is called for. */
export type ServerCall = 'discovery' | 'keys' | 'push' | 'code' | 'refresh' | 'revocation'

export type MeasuredFetch = (call: ServerCall, url: string, init: BoundedRequest) => Promise<BoundedAnswer>

const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * {@link boundedFetch}, timed and counted. From answers that no cache can have kept it also learns how far the clock of the
 * authorization server is from ours: tokens are judged by both.
 */
export function createMeasuredFetch(registry: Registry, clock: Clock): MeasuredFetch {
  const seconds = new Histogram({
    name: 'token_handler_authorization_server_call_seconds',
    help: 'Time until the authorization server had answered a call, or failed to.',
    labelNames: ['call'],
    buckets,
    registers: [registry],
  })
  const calls = new Counter({
    name: 'token_handler_authorization_server_calls_total',
    help: 'Calls to the authorization server by outcome: class of the status, unsent (not reached) or unanswered.',
    labelNames: ['call', 'outcome'],
    registers: [registry],
  })
  let skewSeconds: number | undefined
  exposeGauge(registry, {
    name: 'token_handler_authorization_server_clock_skew_seconds',
    help: 'How far our clock is ahead of the Date header of the authorization server, half a second more or less.',
    read: () => (skewSeconds === undefined ? [] : [[{}, skewSeconds]]),
  })

  function learnSkew({ date }: BoundedAnswer, init: RequestInit, tookMs: number): void {
    if (date === undefined || init.method !== 'POST') return
    // The header has no fractions: on average it is half a second old. The answer was on its way for half of the time.
    skewSeconds = (clock.now() - tookMs / 2 - (date.getTime() + 500)) / 1000
  }

  return async (call, url, init) => {
    const startedAt = clock.monotonic()
    let outcome = 'unanswered'
    try {
      const answer = await boundedFetch(url, init)
      outcome = `${Math.trunc(answer.status / 100)}xx`
      learnSkew(answer, init, clock.monotonic() - startedAt)
      return answer
    } catch (error) {
      if (error instanceof UnansweredError && error.isUnsent) outcome = 'unsent'
      throw error
    } finally {
      calls.inc({ call, outcome })
      seconds.observe({ call }, (clock.monotonic() - startedAt) / 1000)
    }
  }
}
