import { dirname } from 'node:path'
import {
  buildKeyRing,
  createLogger,
  describeError,
  loadConfig,
  loadKeyFile,
  openAuditLog,
  openLedger,
  silentAuditLog,
  systemClock,
  type AuditLog,
  type Config,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { keyContextOf, keyFilePath, neededPurposes } from './key-ring-file.ts'
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
  work: (ledger: Ledger, config: Config, audit: Pick<AuditLog, 'record'>) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(file, { only: 'command', env: process.env })
  const { type } = config.ledger
  if (type !== 'sqlite' && type !== 'redis') {
    throw new UsageError(`ledger.type is ${type}: nobody but the process itself sees its sessions; use the admin API`)
  }
  const logger = createLogger('warn', { write: (line) => void process.stderr.write(line) })
  const ledger = await openLedger(config, { clock: systemClock, logger, folder: dirname(file) })
  const audit = auditLogOf(file, config, logger)
  try {
    return await work(ledger, config, audit)
  } finally {
    await ledger.close()
    await audit.close()
  }
}

/** The configured audit log; lines for standard output go to standard error, for the answer of the command is there. */
function auditLogOf(file: string, config: Config, logger: Logger): AuditLog {
  const deps = { clock: systemClock, logger, folder: dirname(file), descriptor: 2 }
  const needed = neededPurposes('proxy', config).filter((purpose) => purpose === 'audit')
  try {
    // Nobody asks for keys where the log has its own, or is off.
    const keyFile = needed.length === 0 ? { keys: [] } : loadKeyFile(keyFilePath(file, config), needed)
    const ring = buildKeyRing(keyFile, keyContextOf(config))
    return openAuditLog(config, { ...deps, ring: () => ring })
  } catch (error) {
    // An emergency is no time to refuse the end of sessions for want of a record.
    logger.warn({ event: 'audit_unavailable', error: describeError(error) }, 'This command is not recorded.')
    return silentAuditLog
  }
}
