import { cpSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openSqliteLedger, systemClock, type Ledger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { until } from '../support/until.ts'
import { startLedgerProcess } from './ledger-processes.ts'
import { absoluteSeconds, beginSession, idleSeconds, leaseSeconds, type LedgerSession } from './ledger-session.ts'
import { sqliteConfig, temporaryFile, type TemporaryFile } from './sqlite-file.ts'

describe('the sqlite ledger in trouble', () => {
  let clock: FakeClock
  let file: TemporaryFile
  let log: KeptLog
  let ledger: Ledger
  let session: LedgerSession
  const others: Ledger[] = []

  const open = (lossRule?: Parameters<typeof openSqliteLedger>[0]['lossRule']): Promise<Ledger> =>
    openSqliteLedger({ path: file.path, clock, logger: log.logger, lossRule })
  /** Another process of this machine. */
  async function openAnother(): Promise<Ledger> {
    const other = await open()
    others.push(other)
    return other
  }

  beforeEach(async () => {
    clock = fakeClock()
    file = temporaryFile()
    log = keptLog()
    ledger = await open()
    clock.advance(1)
    session = await beginSession(ledger)
  })

  afterEach(async () => {
    await Promise.all([ledger, ...others.splice(0)].map((each) => each.close()))
    file.removeFolder()
  })

  it('makes files that only their owner can read', () => {
    for (const suffix of ['', '-wal', '-shm']) expect(statSync(file.path + suffix).mode & 0o077).toBe(0)
  })

  it('remembers sessions and rules over a restart', async () => {
    const ended = await beginSession(ledger)
    await session.refreshTo(2)
    await ended.end('logout')
    await ledger.close()
    ledger = await open()
    expect(await session.on(ledger).look(2)).toMatchObject({ state: 'current' })
    expect(await session.on(ledger).ask(1)).toMatchObject({ state: 'successors', generation: 2 })
    expect(ledger.rules.endOf(ended.identity)).toBe('logout')
    expect(await ended.on(ledger).ask(0)).toEqual({ state: 'ended', reason: 'logout' })
  })

  describe('locked by another process', () => {
    let locking: DatabaseSync
    beforeEach(() => {
      locking = new DatabaseSync(file.path)
      locking.exec('BEGIN IMMEDIATE')
    })
    afterEach(() => locking.close())

    it('waits, without stopping this process', async () => {
      let ticks = 0
      const ticking = setInterval(() => ticks++, 5)
      const asked = session.ask(0)
      await until('the process goes on meanwhile', () => ticks > 10)
      clearInterval(ticking)
      locking.exec('COMMIT')
      expect(await asked).toMatchObject({ state: 'leased' })
      expect(log.events()).toEqual([])
    })

    it('answers unknown after about a second, and still tells what it can read', async () => {
      const since = performance.now()
      expect(await session.ask(0)).toEqual({ state: 'unknown' })
      expect(await session.commit(0)).toEqual({ state: 'unknown' })
      expect(performance.now() - since).toBeLessThan(6000)
      expect(await session.look(0)).toMatchObject({ state: 'current' })
      expect(log.events()).toEqual(['ledger_unreachable'])
      locking.exec('COMMIT')
      expect(await session.ask(0)).toMatchObject({ state: 'leased' })
      expect(log.events()).toEqual(['ledger_unreachable', 'ledger_reachable'])
    })

    it('keeps a rule that it could not write, and this process heeds it', async () => {
      expect(await session.end('logout')).toEqual({ state: 'unknown' })
      expect(ledger.rules.endOf(session.identity)).toBe('logout')
      locking.exec('COMMIT')
      expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
    })

    it('gives holders of a success five seconds to commit it before doubt is resolved', async () => {
      expect(await session.commit(0)).toEqual({ state: 'unknown' })
      locking.exec('COMMIT')
      const { id } = await session.lease(0)
      await ledger.doubt(session.sid, id)
      clock.advance(4999)
      expect(await session.ask(0)).toEqual({ state: 'held' })
      clock.advance(1)
      expect(await session.ask(0)).toMatchObject({ state: 'leased', inDoubt: true })
    })
  })

  it('answers unknown, and forgets nothing, while it cannot grow', async () => {
    const wide = await openSqliteLedger({ path: file.path, clock: systemClock, logger: log.logger })
    others.push(wide)
    const racing = await beginSession(wide)
    const small = await startLedgerProcess(sqliteConfig(file.path), { fileBytes: 200_000 })
    const { committed, surprises } = await small.race(racing.identity, 10_000)
    await small.kill()
    expect(new Set(surprises)).toEqual(new Set(['unknown']))
    expect(committed.length).toBeGreaterThan(0)
    expect(await racing.look(committed.length)).toMatchObject({ state: 'current' })
    expect(await racing.commit(committed.length)).toMatchObject({ state: 'committed' })
  })

  it('answers unknown when the file is damaged, and goes on with another', async () => {
    await session.refreshTo(1)
    await ledger.close()
    writeFileSync(file.path, Buffer.alloc(8192, 'x'))
    await expect(open()).rejects.toThrow('file is not a database')
    rmSync(file.path)
    clock.advance(1)
    ledger = await open()
    expect(await session.on(ledger).look(1)).toMatchObject({ state: 'current' })
  })

  it('answers unknown when the file is damaged under its hands', async () => {
    await session.refreshTo(1)
    const database = new DatabaseSync(file.path)
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    database.close()
    truncateSync(file.path, 4096)
    expect(await session.ask(1)).toEqual({ state: 'unknown' })
    expect(await ledger.claimLogin('x')).toEqual({ state: 'unknown' })
    expect(log.events()).toEqual(['ledger_unreachable'])
  })

  it('answers unknown for a record of a format that it does not know, and keeps it', async () => {
    const database = new DatabaseSync(file.path)
    database.exec(`UPDATE session SET record = '{"v":2}'`)
    expect(await session.look(0)).toEqual({ state: 'unknown' })
    expect(await session.end('logout')).toEqual({ state: 'unknown' })
    expect(database.prepare('SELECT record FROM session').get()).toEqual({ record: '{"v":2}' })
    database.close()
    expect(log.events()).toContain('ledger_record_unreadable')
    expect(await beginSession(ledger)).toBeDefined()
  })

  it.each([`{"v":2,"record":{"owner":{"subject":"twice"}}}`, 'null', '{'])(
    'lists and counts the other sessions beside a record that it cannot read, and tells that there is one: %s',
    async (record) => {
      const facts = { subjectHash: 'twice', startedAt: session.identity.startedAt }
      for (const sid of ['damaged', 'sound']) {
        await ledger.begin(sid, { absoluteSeconds, idleSeconds })
        await ledger.complete({ ...facts, sid })
      }
      const database = new DatabaseSync(file.path)
      database.prepare(`UPDATE session SET record = ? WHERE sid = 'damaged'`).run(record)
      database.close()
      const { directory } = ledger
      const before = clock.now() + 1
      expect(await directory.find('damaged')).toEqual({ state: 'found', session: undefined, unreadable: 1 })
      expect(await directory.count({ key: 'sid:damaged', before })).toEqual({
        state: 'counted',
        sessions: 0,
        unreadable: 1,
      })
      expect(await directory.count({ key: 'all', before })).toEqual({ state: 'counted', sessions: 2, unreadable: 1 })
      // Whose it is can be told only while it is JSON.
      const unreadable = record.includes('twice') ? 1 : 0
      expect(await directory.ofSubject('twice')).toMatchObject({ sessions: [{ sid: 'sound' }], unreadable })
      expect(await directory.count({ key: 'sub:twice', before })).toEqual({ state: 'counted', sessions: 1, unreadable })
    },
  )

  it('does not start with the file of a newer release', async () => {
    const database = new DatabaseSync(file.path)
    database.exec(`UPDATE meta SET value = 2 WHERE name = 'schema_version'`)
    database.close()
    await expect(open()).rejects.toThrow('The ledger file has schema version 2; this release reads 1.')
  })

  it('does not start where it may not write', async () => {
    await expect(openSqliteLedger({ path: '/nowhere/ledger.db', clock, logger: log.logger })).rejects.toThrow('ENOENT')
  })

  describe('whose file was lost', () => {
    it('puts the rules of this process into the next one', async () => {
      await session.end('logout')
      file.remove()
      const other = await openAnother()
      await until('the rule is back', () => other.rules.endOf(session.identity) === 'logout')
      expect(await session.on(other).ask(0)).toEqual({ state: 'ended', reason: 'logout' })
      expect(log.events()).toContain('ledger_lost')
    })

    it('ends every session where that is wished for', async () => {
      await ledger.close()
      file.remove()
      clock.advance(1)
      ledger = await open((incarnationAt) => ({
        key: 'all',
        before: incarnationAt,
        reason: 'revoked',
        expiresAt: incarnationAt + absoluteSeconds * 1000,
      }))
      expect(await session.on(ledger).look(0)).toEqual({ state: 'ended', reason: 'revoked' })
      clock.advance(1)
      expect(await (await beginSession(ledger)).look(0)).toMatchObject({ state: 'current' })
    })

    it('knows a backup that was put in its place', async () => {
      const database = new DatabaseSync(file.path)
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      database.close()
      cpSync(file.path, `${file.path}.backup`)
      await session.lease(0)
      clock.advance(1000)
      file.remove()
      cpSync(`${file.path}.backup`, file.path)
      // In the backup nobody has the lease; a token that may have been sent is not sent blindly.
      expect(await session.ask(0)).toEqual({ state: 'held' })
      clock.advanceSeconds(leaseSeconds)
      expect(await session.lease(0)).toMatchObject({ inDoubt: true })
    })
  })

  it('forgets what no cookie can belong to any more', async () => {
    const rows = (): number => {
      const database = new DatabaseSync(file.path, { readOnly: true })
      const { count } = database
        .prepare(
          'SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM login) + (SELECT count(*) FROM rule) AS count',
        )
        .get() as { count: number }
      database.close()
      return count
    }
    // More than go at once.
    for (let login = 0; login < 1200; login++) await ledger.claimLogin(`login ${login}`)
    await session.end('logout')
    expect(rows()).toBe(1202)
    clock.advanceSeconds(absoluteSeconds + 120)
    const other = await openAnother()
    await until('the sweep has passed', () => rows() === 0)
    expect(other.rules.endOf(session.identity)).toBeUndefined()
  })
})
