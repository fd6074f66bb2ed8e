import { describeError, type Clock, type Ledger, type Logger } from '@token-handler/shared'
import type { FiguresByProcess } from './figures.ts'
import { History } from './history.ts'

/** So often the figures are read, so that each minute has its own. */
const intervalMs = 15_000
/** Counting the live sessions looks at all of them: it takes this part of the time at most. */
const countingShare = 0.01
const shortestPauseMs = 60_000

export interface WatchDeps {
  readonly ledger: Pick<Ledger, 'directory'>
  readonly figures: () => Promise<FiguresByProcess>
  readonly clock: Clock
  readonly logger: Logger
}

export interface Watch {
  readonly history: History
  /** Reads the figures now. */
  look(): Promise<{ readonly sessions: number | undefined; readonly openStreams: number }>
  stop(): void
}

/** Reads the figures again and again while nobody looks, so that there is a past to look at. */
export function createWatch({ ledger, figures, clock, logger }: WatchDeps): Watch {
  const history = new History(clock)
  let sessions: number | undefined
  let nextCountAt = -Infinity

  async function count(): Promise<number | undefined> {
    const startedAt = performance.now()
    const counted = await ledger.directory.count({ key: 'all', before: Number.MAX_SAFE_INTEGER })
    const tookMs = performance.now() - startedAt
    nextCountAt = clock.monotonic() + tookMs / countingShare
    return counted.state === 'unknown' ? undefined : counted.sessions
  }

  let turn: Promise<unknown> = Promise.resolve()

  /** One after the other: figures that come late would look like those of a process that began anew. */
  function observe(pauseMs: number): Promise<number> {
    const observed = turn.then(() => observeNow(pauseMs))
    turn = observed.catch(() => undefined)
    return observed
  }

  async function observeNow(pauseMs: number): Promise<number> {
    const isDue = clock.monotonic() >= nextCountAt + pauseMs
    const [now, counted] = await Promise.all([figures(), isDue ? count() : sessions])
    sessions = counted
    history.observe(now, sessions)
    return [...now.values()].reduce((total, { openStreams }) => total + openStreams, 0)
  }

  const timer = setInterval(() => {
    observe(shortestPauseMs - intervalMs).catch((error: unknown) => {
      logger.error({ event: 'admin_failed', error: describeError(error) }, 'The figures could not be read.')
    })
  }, intervalMs).unref()

  return {
    history,
    async look() {
      const openStreams = await observe(0)
      return { sessions, openStreams }
    },
    stop: () => clearInterval(timer),
  }
}
