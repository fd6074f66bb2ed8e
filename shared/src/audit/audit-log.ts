import type { AuditEvent } from './events.ts'

/** What became of the events so far, for metrics. All but `pending` only grow. */
export interface AuditCounts {
  /** Events that the log was given, its own included. */
  readonly recorded: number
  /** Records that the sink took. */
  readonly written: number
  /** Events that found no room while the sink was away. */
  readonly lost: number
  /** Events that wait to be written. */
  readonly pending: number
  /** Attempts to write that failed. */
  readonly writeErrors: number
  /** Alerts that anomaly rules raised. */
  readonly alerts: number
  /** Whether the last attempt to write failed, or hangs. */
  readonly isFailing: boolean
}

/** Takes down every issuance and every security decision; docs/audit.md has the schema. */
export interface AuditLog {
  /** Takes an event and returns at once: no input or output, no cryptography. Never throws. */
  record(event: AuditEvent): void
  /** Requests are to be refused with `audit_unavailable`: what they lead to could not be recorded (policy `block`). */
  readonly isBlocking: boolean
  /** Whether the proxy records every request that goes to an API. */
  readonly recordsRequests: boolean
  counts(): AuditCounts
  /** Waits until what was recorded so far is written, or cannot be. */
  flush(): Promise<void>
  /** Writes what waits, and the end of the log. */
  close(): Promise<void>
}

const nothing: AuditCounts = {
  recorded: 0,
  written: 0,
  lost: 0,
  pending: 0,
  writeErrors: 0,
  alerts: 0,
  isFailing: false,
}

/** Keeps nothing. */
export const silentAuditLog: AuditLog = {
  record() {},
  isBlocking: false,
  recordsRequests: false,
  counts: () => nothing,
  flush: () => Promise.resolve(),
  close: () => Promise.resolve(),
}
