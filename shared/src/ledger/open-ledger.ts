import { resolve } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/schema.ts'
import type { Logger } from '../logger.ts'
import type { Ledger } from './ledger.ts'
import { createMemoryLedger } from './memory.ts'
import { createNoLedger, promisesWithoutLedger } from './none.ts'
import { openRedisLedger } from './redis.ts'
import { identityHash } from '../session-cookies.ts'
import type { Rule, RuleSettings } from './rules.ts'
import { openSqliteLedger } from './sqlite.ts'

/** What of the configuration decides over the ledger. */
export type LedgerConfig = Pick<Config, 'ledger' | 'session'> & {
  readonly authorization_server: Pick<Config['authorization_server'], 'issuer' | 'client_id'>
}

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
  { ledger, session, authorization_server: server }: LedgerConfig,
  { clock, logger, folder }: OpenLedgerDeps,
): Promise<Ledger> {
  for (const promise of ledgerWarnings(ledger)) logger.warn({ event: 'ledger_warning', ledger: ledger.type }, promise)
  const rules: RuleSettings = {
    clientHash: identityHash(server.issuer, server.client_id),
    ...('on_stale_rules' in ledger
      ? { stalePolicy: ledger.on_stale_rules, staleAfterMs: ledger.stale_rules_seconds * 1000 }
      : {}),
  }
  const lossRule = (incarnationAt: number): Rule => ({
    key: 'all',
    before: incarnationAt,
    reason: 'revoked',
    expiresAt: incarnationAt + session.absolute_seconds * 1000,
  })
  try {
    if (ledger.type === 'sqlite') {
      const ending = ledger.on_ledger_loss === 'end_all' ? lossRule : undefined
      return await openSqliteLedger({ path: resolve(folder, ledger.file), clock, logger, lossRule: ending, rules })
    }
    if (ledger.type === 'redis') {
      return await openRedisLedger({
        url: ledger.url,
        keyPrefix: ledger.key_prefix,
        caFile: ledger.ca_file === undefined ? undefined : resolve(folder, ledger.ca_file),
        clock,
        logger,
        lossRule: ledger.on_ledger_loss === 'end_all' ? lossRule : undefined,
        rules,
      })
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new LedgerOpenError(`The ${ledger.type} ledger cannot be opened: ${reason}`, { cause })
  }
  return ledger.type === 'memory' ? createMemoryLedger(clock, rules) : createNoLedger(clock, rules)
}

/** What the operator is told at start: promises that the configured ledger does not keep. */
export function ledgerWarnings({ type }: Config['ledger']): readonly string[] {
  if (type === 'none') return promisesWithoutLedger.map((promise) => `Without a ledger: ${promise}.`)
  if (type === 'memory') return ['The memory ledger is for one process, and a restart forgets its sessions and rules.']
  return []
}
