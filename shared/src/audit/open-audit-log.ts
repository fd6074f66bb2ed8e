import { resolve } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/schema.ts'
import type { KeyRing } from '../key-ring.ts'
import type { Logger } from '../logger.ts'
import { silentAuditLog, type AuditLog } from './audit-log.ts'
import { createAuditLog } from './create-audit-log.ts'
import { createFileSink } from './file-sink.ts'
import { configuredAuditKeys, keyRingAuditKeys, type AuditKeys } from './keys.ts'
import { createStdoutSink } from './stdout-sink.ts'

type AuditConfig = Pick<Config, 'audit' | 'authorization_server'>

export interface OpenAuditLogDeps {
  readonly ring: () => KeyRing
  readonly clock: Clock
  readonly logger: Logger
  /** Relative paths count from here. */
  readonly folder: string
  /** Where lines go with `sink: stdout`: standard output, which is 1, unless given. */
  readonly descriptor?: number
}

/** The configured audit log. */
export function openAuditLog(
  config: AuditConfig,
  { ring, clock, logger, folder, descriptor }: OpenAuditLogDeps,
): AuditLog {
  const { audit, authorization_server: server } = config
  if (audit.sink === 'off') return silentAuditLog
  const path = auditFolder(config, folder)
  return createAuditLog({
    keys: auditKeysOf(config, ring),
    sink: audit.sink === 'files' ? createFileSink({ folder: path }) : createStdoutSink(descriptor),
    clock,
    logger,
    options: {
      issuer: server.issuer,
      clientId: server.client_id,
      isSubjectClear: audit.subject === 'clear',
      recordsRequests: audit.requests,
      onLostSink: audit.on_lost_sink,
      bufferSize: audit.buffer,
      files: audit.sink === 'files' ? { folder: path, retentionDays: audit.retention_days } : undefined,
      alerts: {
        windowSeconds: audit.alerts.window_seconds,
        failedLoginsPerNetwork: audit.alerts.failed_logins_per_network,
        failedLogins: audit.alerts.failed_logins,
        superseded: audit.alerts.superseded,
        newNetwork: audit.alerts.new_network,
        capabilitiesPerSubject: audit.alerts.capabilities_per_subject,
      },
    },
  })
}

/** Keys of the configuration, or else those that follow the key ring. */
export function auditKeysOf({ audit }: Pick<Config, 'audit'>, ring: () => KeyRing): AuditKeys {
  return audit.key === undefined ? keyRingAuditKeys(ring) : configuredAuditKeys([audit.key, ...audit.previous_keys])
}

export function auditFolder({ audit }: Pick<Config, 'audit'>, folder: string): string {
  return resolve(folder, audit.folder)
}
