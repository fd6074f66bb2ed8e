import type { Clock } from '@token-handler/shared'
import type { Figures, FiguresByProcess } from './figures.ts'

const minuteMs = 60_000
/** A day. */
const mostMinutes = 24 * 60

/** What happened in one stretch of time; `sessions` and `openStreams` are the most there were at once. */
export interface Stretch {
  /** Milliseconds since 1970, a full minute. */
  readonly startsAt: number
  logins: number
  refreshes: number
  requests: number
  refusals: Map<string, number>
  openStreams: number
  /** `undefined` where the ledger was not asked, or did not answer. */
  sessions: number | undefined
}

/**
 * What this process, or its workers, did in the last day, by the minute. In memory, and bounded: 1,440 minutes with a
 * number for each reason that occurred.
 */
export class History {
  readonly #minutes: Stretch[] = []
  readonly #clock: Clock
  #before: FiguresByProcess = new Map()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Adds what came since the last call to the minute that it is now. */
  observe(now: FiguresByProcess, sessions?: number): void {
    const minute = this.#currentMinute()
    let openStreams = 0
    for (const [name, figures] of now) {
      const before = this.#before.get(name)
      const came = (kind: 'logins' | 'refreshes' | 'requests'): number => increase(figures[kind], before?.[kind])
      minute.logins += came('logins')
      minute.refreshes += came('refreshes')
      minute.requests += came('requests')
      for (const [reason, value] of figures.refusals) {
        const more = increase(value, before?.refusals.get(reason))
        if (more > 0) minute.refusals.set(reason, (minute.refusals.get(reason) ?? 0) + more)
      }
      openStreams += figures.openStreams
    }
    minute.openStreams = Math.max(minute.openStreams, openStreams)
    if (sessions !== undefined) minute.sessions = Math.max(minute.sessions ?? 0, sessions)
    // A worker that did not answer this time goes on from what it told before.
    this.#before = new Map<string, Figures>([...this.#before, ...now])
  }

  /** The last `hours`, oldest first, in stretches of so many minutes, the last one under way. */
  stretches(hours: number, minutesEach: number): Stretch[] {
    const stretchMs = minutesEach * minuteMs
    const lastStart = Math.floor(this.#clock.now() / stretchMs) * stretchMs
    const count = (hours * 60) / minutesEach
    const stretches = Array.from({ length: count }, (_, index) => empty(lastStart - (count - 1 - index) * stretchMs))
    for (const minute of this.#minutes) {
      const stretch = stretches[count - 1 + Math.floor((minute.startsAt - lastStart) / stretchMs)]
      if (stretch !== undefined) addTo(stretch, minute)
    }
    return stretches
  }

  #currentMinute(): Stretch {
    const startsAt = Math.floor(this.#clock.now() / minuteMs) * minuteMs
    const last = this.#minutes.at(-1)
    if (last?.startsAt === startsAt) return last
    // A clock that was set back: what it showed after this instant has not happened.
    while ((this.#minutes.at(-1)?.startsAt ?? 0) > startsAt) this.#minutes.pop()
    const again = this.#minutes.at(-1)
    if (again?.startsAt === startsAt) return again
    const minute = empty(startsAt)
    this.#minutes.push(minute)
    if (this.#minutes.length > mostMinutes) this.#minutes.shift()
    return minute
  }
}

/** A counter that fell began anew: its process was replaced. */
function increase(now: number, before = 0): number {
  return now >= before ? now - before : now
}

function empty(startsAt: number): Stretch {
  return { startsAt, logins: 0, refreshes: 0, requests: 0, refusals: new Map(), openStreams: 0, sessions: undefined }
}

function addTo(stretch: Stretch, minute: Stretch): void {
  stretch.logins += minute.logins
  stretch.refreshes += minute.refreshes
  stretch.requests += minute.requests
  for (const [reason, value] of minute.refusals)
    stretch.refusals.set(reason, (stretch.refusals.get(reason) ?? 0) + value)
  stretch.openStreams = Math.max(stretch.openStreams, minute.openStreams)
  if (minute.sessions !== undefined) stretch.sessions = Math.max(stretch.sessions ?? 0, minute.sessions)
}
