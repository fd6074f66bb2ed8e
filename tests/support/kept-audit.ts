import { silentAuditLog, type AuditEvent, type AuditLog } from '@token-handler/shared'

/** An audit log that only keeps what it is given, as it is given. */
export interface KeptAudit extends AuditLog {
  readonly events: readonly AuditEvent[]
}

export function keptAudit(changes: Partial<AuditLog> = {}): KeptAudit {
  const events: AuditEvent[] = []
  return { ...silentAuditLog, ...changes, events, record: (event) => void events.push(event) }
}
