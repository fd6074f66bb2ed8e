import type { Ledger } from '@token-handler/shared'

/** A ledger that can be cut off: while it is, every question is answered `unknown`, and nothing is written. */
export interface CuttableLedger extends Ledger {
  /** Names of operations that fail, or all of them. */
  cut: boolean | ReadonlySet<string>
}

export function cuttable(ledger: Ledger): CuttableLedger {
  const wrapped = new Proxy(ledger as CuttableLedger, {
    get(target, name: keyof CuttableLedger) {
      const { cut } = state
      if (name === 'cut') return cut
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function' || name === 'close') return value
      const isCut = cut === true || (cut !== false && cut.has(name))
      return isCut ? async () => ({ state: 'unknown' }) : value.bind(target)
    },
    set(_target, _name, value: CuttableLedger['cut']) {
      state.cut = value
      return true
    },
  })
  const state: { cut: CuttableLedger['cut'] } = { cut: false }
  return wrapped
}
