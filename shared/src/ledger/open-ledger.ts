import { resolve } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/schema.ts'
import type { Logger } from '../logger.ts'
import type { Ledger } from './ledger.ts'
import { createMemoryLedger } from './memory.ts'
import { createNoLedger, promisesWithoutLedger } from './none.ts'
import { openRedisLedger } from './redis.ts'
import type { Rule } from './rules.ts'
import { openSqliteLedger } from './sqlite.ts'

export interface OpenLedgerDeps {
  readonly clock: Clock
  readonly logger: Logger
  /** Relative paths of the configuration count from here. */
  readonly folder: string
}

/** The ledger cannot be opened, and waiting will not help; the message is for the operator. */
export class LedgerOpenError extends Error {
  override readonly name = 'LedgerOpenError'
}

/**
 * Opens the configured ledger. A Redis that cannot be reached is no error: it is asked again until it answers, and the
 * rules say that they are stale until then.
 * @throws LedgerOpenError
 */
export async function openLedger(
  { ledger, session }: Pick<Config, 'ledger' | 'session'>,
  { clock, logger, folder }: OpenLedgerDeps,
): Promise<Ledger> {
  for (const promise of ledgerWarnings(ledger)) logger.warn({ event: 'ledger_warning', ledger: ledger.type }, promise)
  const lossRule = (incarnationAt: number): Rule => ({
    key: 'all',
    before: incarnationAt,
    reason: 'revoked',
    expiresAt: incarnationAt + session.absolute_seconds * 1000,
  })
  try {
    if (ledger.type === 'sqlite') {
      const ending = ledger.on_ledger_loss === 'end_all' ? lossRule : undefined
      return await openSqliteLedger({ path: resolve(folder, ledger.file), clock, logger, lossRule: ending })
    }
    if (ledger.type === 'redis') {
      return await openRedisLedger({
        url: ledger.url,
        keyPrefix: ledger.key_prefix,
        caFile: ledger.ca_file === undefined ? undefined : resolve(folder, ledger.ca_file),
        clock,
        logger,
        lossRule: ledger.on_ledger_loss === 'end_all' ? lossRule : undefined,
      })
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LedgerOpenError(`The ${ledger.type} ledger cannot be opened: ${reason}`, { cause })
  }
  return ledger.type === 'memory' ? createMemoryLedger(clock) : createNoLedger(clock)
}

/** What the operator is told at start: promises that the configured ledger does not keep. */
export function ledgerWarnings({ type }: Config['ledger']): readonly string[] {
  if (type === 'none') return promisesWithoutLedger.map((promise) => `Without a ledger: ${promise}.`)
  if (type === 'memory') return ['The memory ledger is for one process, and a restart forgets its sessions and rules.']
  return []
}
