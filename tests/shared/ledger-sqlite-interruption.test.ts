import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openSqliteLedger, type Ledger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { until } from '../support/until.ts'
import { beginSession, type LedgerSession } from './ledger-session.ts'
import { temporaryFile, type TemporaryFile } from './sqlite-file.ts'

describe('a doubt of the sqlite ledger that outlives an interruption of the store', () => {
  let clock: FakeClock
  let file: TemporaryFile
  let locking: DatabaseSync
  let ledger: Ledger
  let session: LedgerSession
  let log: KeptLog

  beforeEach(async () => {
    clock = fakeClock()
    file = temporaryFile()
    log = keptLog()
    ledger = await openSqliteLedger({ path: file.path, clock, logger: log.logger })
    session = await beginSession(ledger)
    locking = new DatabaseSync(file.path)
  })
  afterEach(async () => {
    locking.close()
    await ledger.close()
    file.removeFolder()
  })

  it('is not resolved by the first request after it: who has a success gets five seconds to commit it', async () => {
    await ledger.doubt(session.sid, (await session.lease(0)).id)
    clock.advance(1000)
    locking.exec('BEGIN IMMEDIATE')
    expect(await session.ask(0)).toEqual({ state: 'unknown' })
    locking.exec('COMMIT')
    expect(await session.ask(0)).toEqual({ state: 'held' })
    await until('the ledger finds that it can write', () => log.events().includes('ledger_reachable'))
    clock.advance(4999)
    expect(await session.ask(0)).toEqual({ state: 'held' })
    clock.advance(1)
    expect(await session.ask(0)).toMatchObject({ state: 'leased', inDoubt: true })
  })

  it('is not resolved at once by a process that asked for nothing while another held the write lock', async () => {
    await ledger.doubt(session.sid, (await session.lease(0)).id)
    clock.advance(1000)
    locking.exec('BEGIN IMMEDIATE')
    await sleep(3500)
    locking.exec('COMMIT')
    expect(await session.ask(0)).toEqual({ state: 'held' })
    expect(log.events()).toEqual([])
    clock.advance(4999)
    expect(await session.ask(0)).toEqual({ state: 'held' })
    clock.advance(1)
    expect(await session.ask(0)).toMatchObject({ state: 'leased', inDoubt: true })
  })
})
