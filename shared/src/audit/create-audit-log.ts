import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import { describeError, type Logger } from '../logger.ts'
import { Anomalies, type AlertOptions } from './anomalies.ts'
import type { AuditCounts, AuditLog } from './audit-log.ts'
import type { AuditEvent } from './events.ts'
import type { AuditKeys } from './keys.ts'
import { createParts } from './parts.ts'
import type { RecordContext } from './record.ts'
import { Repeats } from './repeats.ts'
import type { AuditSink } from './sink.ts'

export interface AuditLogOptions extends RecordContext {
  /** Record every request that goes to an API. */
  readonly recordsRequests: boolean
  /** While the sink is away: go on, or have requests refused. */
  readonly onLostSink: 'drop' | 'block'
  /** Most events that wait to be written. */
  readonly bufferSize: number
  readonly alerts: AlertOptions
  /** Folder and retention of the files, where the sink writes files. */
  readonly files?: { readonly folder: string; readonly retentionDays: number } | undefined
}

export interface AuditLogDeps {
  readonly options: AuditLogOptions
  readonly keys: AuditKeys
  readonly sink: AuditSink
  readonly clock: Clock
  readonly logger: Logger
}

/** Events wait this long for others, so that many are written at once. */
const gatherMs = 100
const mostInBatch = 256
const sweepMs = 2_000
/** A write that takes longer counts as failed; it goes on all the same. */
const hungMs = 5_000
const firstPauseMs = 250
const longestPauseMs = 5_000
/** How often the operational log says how far this one has come. */
const headMs = 3_600_000
/** How long a stop waits for a sink that does not answer. */
const closeMs = 4_000

/** The process is stopping, and the sink is still away. */
class GivenUpError extends Error {}

/** An audit log that writes hash-chained records to a sink, in batches, off the path of the requests. */
export function createAuditLog({ options, keys, sink, clock, logger }: AuditLogDeps): AuditLog {
  const { bufferSize, onLostSink } = options
  const parts = createParts({ context: options, files: options.files, keys, sink, clock })
  const anomalies = new Anomalies(options.alerts)
  const repeats = new Repeats()
  const counts = { recorded: 0, written: 0, lost: 0, writeErrors: 0, alerts: 0 }
  const waiting: { readonly event: AuditEvent; readonly at: number }[] = []
  /** Events that are being written. */
  let inHand = 0
  /** Events that found no room and are not told yet. */
  let untold = { count: 0, from: 0, to: 0 }
  let failure: string | undefined
  let isClosed = false
  let headAt = -Infinity
  let gathering: NodeJS.Timeout | undefined
  let writing: Promise<void> | undefined
  const stop = new AbortController()
  const sweep = setInterval(() => sweepRepeats(clock.monotonic()), sweepMs).unref()

  function record(event: AuditEvent): void {
    counts.recorded += 1
    const now = clock.monotonic()
    const alerts = anomalies.watch(event, now)
    if (repeats.isFirst(event, now)) take(event)
    for (const alert of alerts) raise(alert)
  }

  function raise(alert: AuditEvent): void {
    counts.alerts += 1
    counts.recorded += 1
    logger.warn({ event: 'audit_alert', security: true, rule: alert.reason, ...alert.details }, 'Something is unusual.')
    take(alert)
  }

  function take(event: AuditEvent): void {
    const at = clock.now()
    if (isClosed || waiting.length + inHand >= bufferSize) {
      lose(1)
      return
    }
    waiting.push({ event, at })
    if (writing === undefined) gathering ??= setTimeout(write, gatherMs)
  }

  function lose(count: number): void {
    const at = clock.now()
    untold = { count: untold.count + count, from: untold.count === 0 ? at : untold.from, to: at }
    counts.lost += count
  }

  function sweepRepeats(nowMs: number): void {
    for (const event of repeats.take(nowMs)) take(event)
  }

  function write(): void {
    clearTimeout(gathering)
    gathering = undefined
    writing ??= writeWaiting()
      .catch((error: unknown) => {
        if (error instanceof GivenUpError) return
        logger.error({ event: 'audit_failed', error: describeError(error) }, 'Events could not be recorded.')
        lose(inHand)
        inHand = 0
      })
      .finally(() => {
        writing = undefined
        if (waiting.length > 0 && !stop.signal.aborted) gathering ??= setTimeout(write, gatherMs)
      })
  }

  async function writeWaiting(): Promise<void> {
    while (waiting.length > 0 || untold.count > 0) {
      const batch = waiting.splice(0, mostInBatch)
      inHand = batch.length
      await insist(() => parts.prepare())
      if (batch.length === 0) tellLost(batch)
      const text = parts.seal(batch)
      await insist(() => sink.write(text))
      counts.written += batch.length
      inHand = 0
      if (clock.monotonic() - headAt >= headMs) tellHead()
    }
  }

  /** A witness outside of the log: what the log held at this time can be proved missing later. */
  function tellHead(): void {
    headAt = clock.monotonic()
    if (parts.end !== undefined) logger.info({ event: 'audit_head', ...parts.end }, 'The audit log has come to here.')
  }

  /** Once everything that was kept is written: what was not kept. */
  function tellLost(batch: { event: AuditEvent; at: number }[]): void {
    const { count, from, to } = untold
    untold = { count: 0, from: 0, to: 0 }
    const details = { count, after: new Date(from).toISOString(), before: new Date(to).toISOString() }
    batch.push({ event: { event: 'records_lost', outcome: 'failure', details }, at: clock.now() })
    counts.recorded += 1
  }

  /** Tries until it works. @throws GivenUpError when the process stops first. */
  async function insist(attempt: () => Promise<void>): Promise<void> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
      const hung = setTimeout(() => fail({ code: 'hung' }), hungMs).unref()
      try {
        await attempt()
        heal()
        return
      } catch (error) {
        fail(error)
      } finally {
        clearTimeout(hung)
      }
      if (stop.signal.aborted) throw new GivenUpError()
      await sleep(pauseMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  }

  function fail(error: unknown): void {
    counts.writeErrors += 1
    const { code = 'unknown error' } = (error ?? {}) as { code?: string }
    if (failure === code) return
    failure = code
    const fields = { event: 'audit_failing', code, policy: onLostSink, error: describeError(error) }
    logger.error(fields, 'The audit log cannot be written.')
  }

  function heal(): void {
    if (failure === undefined) return
    failure = undefined
    logger.info({ event: 'audit_recovered', lost: counts.lost }, 'The audit log is written again.')
  }

  async function flush(): Promise<void> {
    sweepRepeats(Infinity)
    while (waiting.length > 0 || untold.count > 0 || writing !== undefined) {
      write()
      await writing
      if (stop.signal.aborted) return
    }
  }

  /** Writes what waits and the end of the part; a sink that does not answer is left after a while. */
  async function close(): Promise<void> {
    if (isClosed) return
    clearInterval(sweep)
    sweepRepeats(Infinity)
    // Ends the pauses: everything is tried once more.
    stop.abort()
    const patience = new AbortController()
    const end = async (): Promise<void> => {
      await flush()
      isClosed = true
      await insist(() => parts.close())
      tellHead()
    }
    const timeout = sleep(closeMs, undefined, { signal: patience.signal, ref: false }).catch(() => undefined)
    await Promise.race([end().catch(() => undefined), timeout])
    isClosed = true
    patience.abort()
    await sink.close()
    const left = waiting.length + inHand + untold.count
    if (left > 0) logger.error({ event: 'audit_lost', count: left }, 'Events of the audit log are lost.')
  }

  return {
    record,
    get isBlocking() {
      return onLostSink === 'block' && (failure !== undefined || waiting.length + inHand >= bufferSize)
    },
    recordsRequests: options.recordsRequests,
    counts: (): AuditCounts => ({
      ...counts,
      pending: waiting.length + inHand,
      isFailing: failure !== undefined,
    }),
    flush,
    close,
  }
}
