import { randomBytes } from 'node:crypto'
import { createAuditKey, createAuditLog, createStdoutSink, silentLogger, systemClock } from '@token-handler/shared'
import { auditOptions } from './audit-kit.ts'

/** Writes an audit log to its standard output: as many events as it is told to. Answers with the counts. */
const key = createAuditKey(randomBytes(32), 'k1')
const audit = createAuditLog({
  options: auditOptions({ bufferSize: 300 }),
  keys: { current: () => key, all: () => [key] },
  sink: createStdoutSink(),
  clock: systemClock,
  logger: silentLogger,
})

process.on('message', (order: number | 'counts' | 'close') => {
  if (typeof order === 'number') {
    for (let left = order; left > 0; left--) audit.record({ event: 'login', outcome: 'success', subject: 'user-1' })
  }
  if (order === 'close') void audit.close().then(() => process.disconnect?.())
  else process.send?.(audit.counts())
})
