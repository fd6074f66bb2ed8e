import type { Clock } from '../clock.ts'
import { Counter, Histogram, type Registry } from '../metrics.ts'
import type { Ledger } from './ledger.ts'

/** From a look-up in a file nearby to a store that answers only just before it is given up. */
const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 5]

type Operation = (...parameters: never[]) => Promise<unknown>

/** The same ledger, with every operation timed, and counted where the store could not be asked. */
export function measureLedger(ledger: Ledger, registry: Registry, clock: Clock): Ledger {
  const seconds = new Histogram({
    name: 'token_handler_ledger_operation_seconds',
    help: 'Time that an operation of the session ledger took.',
    labelNames: ['operation'],
    buckets,
    registers: [registry],
  })
  const unanswered = new Counter({
    name: 'token_handler_ledger_unanswered_total',
    help: 'Operations of the session ledger that could not be carried out: store away (unknown), or an error.',
    labelNames: ['operation', 'reason'],
    registers: [registry],
  })

  function measured(operation: string, perform: Operation): Operation {
    return async (...parameters) => {
      const startedAt = clock.monotonic()
      try {
        const answer = await perform(...parameters)
        if (isUnknown(answer)) unanswered.inc({ operation, reason: 'unknown' })
        return answer
      } catch (error) {
        unanswered.inc({ operation, reason: 'error' })
        throw error
      } finally {
        seconds.observe({ operation }, (clock.monotonic() - startedAt) / 1000)
      }
    }
  }

  const operations = new Map<string, Operation>()
  return new Proxy(ledger, {
    get(target, name: Exclude<keyof Ledger, symbol>) {
      const own = target[name]
      if (typeof own !== 'function' || name === 'close') return own
      let operation = operations.get(name)
      if (operation === undefined) {
        operation = measured(name, own.bind(target))
        operations.set(name, operation)
      }
      return operation
    },
  })
}

function isUnknown(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && (answer as { state?: unknown }).state === 'unknown'
}
