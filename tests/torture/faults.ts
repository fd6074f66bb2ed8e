import type { Random } from './random.ts'
import type { StoreKind } from './options.ts'

/** Where a fault strikes. */
export type Place = 'authorization server' | 'agent' | 'store' | 'browser'

interface KindEntry {
  readonly place: Place
  /** Its share of a plan, in proportion to the others. */
  readonly weight: number
  readonly meaning: string
  /** Only with this store. */
  readonly store?: StoreKind
}

const catalogue = {
  // One refresh request at the authorization server.
  as_cut: { place: 'authorization server', weight: 8, meaning: 'connection cut, nothing processed' },
  as_lost: { place: 'authorization server', weight: 7, meaning: 'processed, then the connection is cut' },
  as_error: { place: 'authorization server', weight: 4, meaning: '500, nothing processed' },
  as_late_error: { place: 'authorization server', weight: 4, meaning: 'processed, then 502' },
  as_garbage: { place: 'authorization server', weight: 3, meaning: 'processed, then a cut-off body' },
  as_busy: { place: 'authorization server', weight: 6, meaning: '503 temporarily_unavailable' },
  as_limited: { place: 'authorization server', weight: 6, meaning: '429 without an OAuth error' },
  as_slow: { place: 'authorization server', weight: 8, meaning: 'answer after about half of the time limit' },
  as_stall: { place: 'authorization server', weight: 3, meaning: 'no answer within the time limit, nothing processed' },
  as_late: { place: 'authorization server', weight: 3, meaning: 'processed, no answer within the time limit' },
  // The agent that holds a lease, in the middle of its call.
  kill_before: { place: 'agent', weight: 3, meaning: 'kill -9 of the lease holder, nothing processed' },
  kill_processed: { place: 'agent', weight: 3, meaning: 'kill -9 of the lease holder, processed, not answered' },
  kill_answered: { place: 'agent', weight: 4, meaning: 'kill -9 of the lease holder right after the answer' },
  pause_before: { place: 'agent', weight: 2, meaning: 'the lease holder pauses, nothing processed' },
  pause_processed: { place: 'agent', weight: 3, meaning: 'the lease holder pauses, processed, not answered' },
  pause_answered: { place: 'agent', weight: 3, meaning: 'the lease holder pauses right after the answer' },
  // The ledger's store.
  sqlite_lock: { place: 'store', weight: 4, meaning: 'another process holds the write lock', store: 'sqlite' },
  sqlite_crash: { place: 'store', weight: 3, meaning: 'a writer dies within a large transaction', store: 'sqlite' },
  sqlite_full: { place: 'store', weight: 3, meaning: 'one agent can write no more', store: 'sqlite' },
  redis_restart: { place: 'store', weight: 3, meaning: 'kill -9 of the server, started again', store: 'redis' },
  redis_hang: { place: 'store', weight: 3, meaning: 'the server hangs', store: 'redis' },
  redis_partition: { place: 'store', weight: 3, meaning: 'one agent is cut off; its bytes get stuck', store: 'redis' },
  redis_reset: { place: 'store', weight: 2, meaning: "one agent's connections are reset", store: 'redis' },
  // One browser.
  abort: { place: 'browser', weight: 10, meaning: 'requests are given up under way' },
  lost_answers: { place: 'browser', weight: 12, meaning: 'answers do not arrive; the jar keeps the old cookies' },
  roll_back: { place: 'browser', weight: 8, meaning: 'the browser crashes and comes back with older cookies' },
  thief: { place: 'browser', weight: 8, meaning: 'somebody uses a copy of the cookies, sooner or later' },
  logout: { place: 'browser', weight: 8, meaning: 'a logout while other tabs refresh' },
} as const satisfies Record<string, KindEntry>

export type FaultKind = keyof typeof catalogue
/** The kinds that strike at a place. */
export type KindAt<At extends Place> = {
  [Kind in FaultKind]: (typeof catalogue)[Kind]['place'] extends At ? Kind : never
}[FaultKind]
export const faultKinds: Readonly<Record<FaultKind, KindEntry>> = catalogue

/** One fault of the plan; the parts that inject it fill in when and where. */
export interface Fault<Kind extends FaultKind = FaultKind> {
  readonly id: number
  readonly kind: Kind
  readonly place: Place
  /** From 0 up to 1, for whoever injects it to derive durations from. */
  readonly severity: number
  injectedAt: number | undefined
  /** When what was broken works again. */
  healedAt: number | undefined
  /** The session that it struck; left out where it strikes all. */
  session: string | undefined
  /** The agent that it struck. */
  agent: number | undefined
}

/**
 * The faults of a run in their order, which the seed decides. Every kind that fits gets its share, and the shares of a
 * short plan are those of a long one as far as whole numbers allow.
 */
export function planFaults(
  count: number,
  store: StoreKind,
  random: Random,
  without: readonly FaultKind[] = [],
): Fault[] {
  const fitting = (Object.keys(catalogue) as FaultKind[]).filter((kind) => {
    const { store: needed } = faultKinds[kind]
    return (needed === undefined || needed === store) && !without.includes(kind)
  })
  const total = fitting.reduce((sum, kind) => sum + faultKinds[kind].weight, 0)
  const kinds = fitting.flatMap((kind) => repeat(kind, Math.floor((count * faultKinds[kind].weight) / total)))
  while (kinds.length < count) kinds.push(random.pick(fitting))
  return random.shuffled(kinds).map((kind, id) => ({
    id,
    kind,
    place: faultKinds[kind].place,
    severity: random.next(),
    injectedAt: undefined,
    healedAt: undefined,
    session: undefined,
    agent: undefined,
  }))
}

function repeat<T>(value: T, times: number): T[] {
  return Array.from({ length: times }, () => value)
}

/** Hands out the faults of a plan in order, a few at a time, to the places that can inject them. */
export class FaultSchedule {
  readonly all: readonly Fault[]
  readonly #waiting: Fault[]
  readonly #armed = new Set<Fault>()
  readonly #width: number

  /** @param width Faults that wait for their place at the same time: as many may overtake one another. */
  constructor(plan: readonly Fault[], width = 24) {
    this.all = plan
    this.#waiting = [...plan]
    this.#width = width
    this.#arm()
  }

  /** The next fault of a place, if it is its turn. The caller injects it. */
  take<At extends Place>(place: At): Fault<KindAt<At>> | undefined {
    for (const fault of this.#armed) {
      if (!isAt(fault, place)) continue
      this.#armed.delete(fault)
      this.#arm()
      fault.injectedAt = Date.now()
      return fault
    }
    return undefined
  }

  get isOver(): boolean {
    return this.#armed.size === 0
  }

  #arm(): void {
    while (this.#armed.size < this.#width) {
      const fault = this.#waiting.shift()
      if (fault === undefined) return
      this.#armed.add(fault)
    }
  }
}

function isAt<At extends Place>(fault: Fault, place: At): fault is Fault<KindAt<At>> {
  return fault.place === place
}
