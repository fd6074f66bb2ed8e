import { describeError, type Logger } from '../logger.ts'

/**
 * Whether a store answers, as this process sees it. Logs the changes, not every failure: `ledger_unreachable` and
 * `ledger_reachable`.
 */
export interface Reachability {
  /** Since when the store answers without interruption, on the ledger's clock. */
  readonly since: number
  /** Whether the last answer was a failure. */
  readonly isFailing: boolean
  /** @param now The ledger's time. */
  succeeded(now: number): void
  failed(reason: string, error: unknown): void
  /** It answers, but whether it would have done so all the time until now is not known. */
  resumed(now: number): void
}

/** @param initially Always unless given; `Infinity` for a store whose last minutes a new process cannot know. */
export function trackReachability(kind: string, logger: Logger, initially = -Infinity): Reachability {
  let since = initially
  let failures = 0
  return {
    get since() {
      return since
    },
    get isFailing() {
      return failures > 0
    },
    succeeded(now) {
      if (failures === 0 && since !== Infinity) return
      since = now
      if (failures === 0) return
      logger.info({ event: 'ledger_reachable', ledger: kind, failures }, 'The ledger answers again.')
      failures = 0
    },
    resumed(now) {
      if (failures === 0) since = now
    },
    failed(reason, error) {
      failures += 1
      if (failures > 1) return
      logger.error(
        { event: 'ledger_unreachable', ledger: kind, reason, error: describeError(error) },
        'The ledger cannot be asked; nothing is decided until it answers.',
      )
    },
  }
}

/** One record is of no use, while the store is well. */
export function logUnreadable(logger: Logger, error: unknown): void {
  logger.error({ event: 'ledger_record_unreadable', error: describeError(error) }, 'A ledger record cannot be read.')
}
