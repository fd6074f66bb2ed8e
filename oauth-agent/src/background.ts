import { setTimeout as sleep } from 'node:timers/promises'
import { describeError, type Logger } from '@token-handler/shared'

/** Work that goes on after its request was answered, and that a stop waits for. */
export interface Background {
  /** Follows a promise that nobody awaits; a rejection is logged. */
  follow(what: string, work: Promise<unknown>): void
  /**
   * Repeats `attempt` until it returns `true`, with growing pauses. A stop ends the pauses: one last attempt is made, then
   * it is given up and logged.
   */
  persist(
    what: string,
    attempt: () => Promise<boolean>,
    limits?: { readonly attempts?: number; readonly longestPauseMs?: number },
  ): void
  /** Waits for everything under way. */
  close(): Promise<void>
}

const firstPauseMs = 500
const usualLongestPauseMs = 30_000

export function createBackground(logger: Logger): Background {
  const running = new Set<Promise<unknown>>()
  const stop = new AbortController()

  function follow(what: string, work: Promise<unknown>): void {
    const followed: Promise<unknown> = work
      .catch((error: unknown) => {
        logger.error({ event: 'background_failed', what, error: describeError(error) }, 'Failed.')
      })
      .finally(() => running.delete(followed))
    running.add(followed)
  }

  async function repeat(
    what: string,
    attempt: () => Promise<boolean>,
    { attempts, longestPauseMs }: { readonly attempts: number; readonly longestPauseMs: number },
  ): Promise<void> {
    for (let tried = 1; ; tried++) {
      const isLast = tried >= attempts || stop.signal.aborted
      if (await attempt()) return
      if (isLast) {
        logger.error({ event: 'given_up', what, attempts: tried }, 'Given up.')
        return
      }
      const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (tried - 1))
      await sleep(pauseMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  }

  return {
    follow,
    persist: (what, attempt, { attempts = Infinity, longestPauseMs = usualLongestPauseMs } = {}) =>
      follow(what, repeat(what, attempt, { attempts, longestPauseMs })),
    async close() {
      stop.abort()
      while (running.size > 0) await Promise.all(running)
    },
  }
}
