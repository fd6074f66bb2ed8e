import type { Ledger } from '@token-handler/shared'

/** A ledger whose store fails when the test says so. */
export interface FaultyLedger {
  /** For the agent. */
  readonly ledger: Ledger
  /** Operations that cannot reach the store: all, none, or some; they are answered `unknown` and write nothing. */
  cut: boolean | ReadonlySet<string>
  /** Operations that do something else. */
  replaced: Partial<Ledger>
}

export function faultyLedger(inner: Ledger): FaultyLedger {
  const faults: FaultyLedger = {
    ledger: new Proxy(inner, {
      get(target, name: keyof Ledger): unknown {
        const own: unknown = faults.replaced[name] ?? target[name]
        if (typeof own !== 'function' || name === 'close') return own
        const isCut = faults.cut === true || (faults.cut !== false && faults.cut.has(name))
        return isCut ? async () => ({ state: 'unknown' }) : own.bind(target)
      },
    }),
    cut: false,
    replaced: {},
  }
  return faults
}
