import { setTimeout as sleep } from 'node:timers/promises'
import { describeError, type Clock, type Logger } from '@token-handler/shared'
import { keepProtections, metadataProblem, type Metadata } from './metadata.ts'

/** Metadata that is fetched when it is needed, kept when the server is away, and looked at again now and then. */
export interface Discovery<M extends Metadata> {
  /** Fetches in the background until it succeeds, so that the first login need not. */
  start(): void
  /** The metadata in use, fetched now if there is none. @throws when there is none to be had. */
  current(): Promise<M>
  /** The metadata in use, without asking anybody. */
  known(): M | undefined
  /** How the last attempt went. */
  state(): 'ok' | 'unavailable' | 'unknown'
  close(): void
}

export interface DiscoveryDeps<M extends Metadata> {
  readonly issuer: string
  readonly discover: (signal: AbortSignal) => Promise<M>
  readonly clock: Clock
  readonly logger: Logger
}

const renewAfterMs = 3_600_000
const firstPauseMs = 500
const longestPauseMs = 30_000
/** An attempt that failed this short a time ago is not repeated for the next request. */
const failFastMs = 500

export function createDiscovery<M extends Metadata>(deps: DiscoveryDeps<M>): Discovery<M> {
  const { issuer, discover, clock, logger } = deps
  const stop = new AbortController()
  let known: M | undefined
  let triedAt = Number.NEGATIVE_INFINITY
  let lastError: unknown
  let running: Promise<M> | undefined

  async function attempt(): Promise<M> {
    const found = await discover(stop.signal)
    const problem = metadataProblem(found, issuer, known)
    if (problem !== undefined) throw new Error(`metadata refused: ${problem}`)
    return keepProtections(found, known)
  }

  async function renew(): Promise<M> {
    running ??= attempt()
      .then(
        (found) => {
          if (known === undefined || lastError !== undefined) logger.info({ event: 'discovery_ok' }, 'Metadata read.')
          known = found
          lastError = undefined
          return found
        },
        (error: unknown) => {
          lastError = error
          logger.warn({ event: 'discovery_failed', error: describeError(error) }, 'Metadata cannot be read or used.')
          throw error
        },
      )
      .finally(() => {
        triedAt = clock.monotonic()
        running = undefined
      })
    return running
  }

  async function keepTrying(): Promise<void> {
    for (let pauseMs = firstPauseMs; known === undefined && !stop.signal.aborted;) {
      const found = await renew().catch(() => undefined)
      if (found !== undefined) return
      await sleep(pauseMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
      pauseMs = Math.min(longestPauseMs, pauseMs * 2)
    }
  }

  return {
    start: () => void keepTrying(),
    async current() {
      const sinceMs = clock.monotonic() - triedAt
      if (known !== undefined) {
        // Nobody waits for the renewal, and its failure changes nothing for now.
        if (sinceMs >= renewAfterMs) renew().catch(() => undefined)
        return known
      }
      if (lastError !== undefined && sinceMs < failFastMs && running === undefined) throw lastError
      return renew()
    },
    known: () => known,
    state: () => (lastError !== undefined ? 'unavailable' : known === undefined ? 'unknown' : 'ok'),
    close: () => stop.abort(),
  }
}
