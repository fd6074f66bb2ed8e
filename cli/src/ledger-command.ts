import { dirname } from 'node:path'
import { createLogger, loadConfig, openLedger, systemClock, type Config, type Ledger } from '@token-handler/shared'
import { UsageError } from './usage.ts'

/** The store could not be asked, so nothing is certain. */
export class LedgerUnreachableError extends Error {
  override readonly name = 'LedgerUnreachableError'
}

/**
 * Works on the ledger that the configuration names, beside the processes that run on it: what is written there reaches
 * them as what they write themselves.
 * @throws UsageError for a ledger that no other process sees, LedgerOpenError, ConfigError
 */
export async function withLedger<Result>(
  file: string,
  work: (ledger: Ledger, config: Config) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(file, { only: 'proxy', env: process.env })
  const { type } = config.ledger
  if (type !== 'sqlite' && type !== 'redis') {
    throw new UsageError(`ledger.type is ${type}: nobody but the process itself sees its sessions; use the admin API`)
  }
  const logger = createLogger('warn', { write: (line) => void process.stderr.write(line) })
  const ledger = await openLedger(config, { clock: systemClock, logger, folder: dirname(file) })
  try {
    return await work(ledger, config)
  } finally {
    await ledger.close()
  }
}
