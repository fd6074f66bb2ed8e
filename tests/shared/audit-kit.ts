import { randomBytes } from 'node:crypto'
import {
  createAuditKey,
  createAuditLog,
  type AuditLog,
  type AuditLogOptions,
  type AuditSink,
} from '@token-handler/shared'
import { auditRecordSchema, type AuditRecord } from '../../shared/src/audit/schema.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'

export const issuer = 'https://as.example'

/** A sink that a test can break. */
export interface KeptSink extends AuditSink {
  /** What was written, whole lines. */
  text: string
  /** What the next attempts to write lead to. */
  failure: NodeJS.ErrnoException | undefined
  /** Writes do not answer until this resolves. */
  gate: Promise<void> | undefined
  attempts: number
}

export function keptSink(): KeptSink {
  const sink: KeptSink = {
    hasParts: false,
    text: '',
    failure: undefined,
    gate: undefined,
    attempts: 0,
    open: () => Promise.resolve(),
    async write(text) {
      sink.attempts += 1
      await sink.gate
      if (sink.failure !== undefined) throw sink.failure
      sink.text += text
    },
    close: () => Promise.resolve(),
  }
  return sink
}

/** An error of the operating system. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code })
}

export const quiet: AuditLogOptions['alerts'] = {
  windowSeconds: 300,
  failedLoginsPerNetwork: 0,
  failedLogins: 0,
  superseded: 0,
  newNetwork: false,
  capabilitiesPerSubject: 0,
}

export function auditOptions(changes: Partial<AuditLogOptions> = {}): AuditLogOptions {
  return {
    issuer,
    clientId: 'spa-client',
    isSubjectClear: false,
    recordsRequests: false,
    onLostSink: 'drop',
    bufferSize: 1000,
    alerts: quiet,
    ...changes,
  }
}

export interface AuditUnderTest {
  readonly audit: AuditLog
  readonly sink: KeptSink
  readonly clock: FakeClock
  readonly log: KeptLog
  /** What is written once everything is. */
  records(): Promise<AuditRecord[]>
}

export function startAudit(changes: Partial<AuditLogOptions> = {}): AuditUnderTest {
  const sink = keptSink()
  const clock = fakeClock()
  const log = keptLog()
  const key = createAuditKey(randomBytes(32), 'k1')
  const keys = { current: () => key, all: () => [key] }
  const audit = createAuditLog({ options: auditOptions(changes), keys, sink, clock, logger: log.logger })
  return {
    audit,
    sink,
    clock,
    log,
    async records() {
      await audit.flush()
      return parseRecords(sink.text)
    },
  }
}

/** The records of a text, each held against the schema. */
export function parseRecords(text: string): AuditRecord[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => auditRecordSchema.parse(JSON.parse(line)))
}
