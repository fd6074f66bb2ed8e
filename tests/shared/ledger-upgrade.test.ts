import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openSqliteLedger, silentLogger, type Ledger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { beginSession, type LedgerSession } from './ledger-session.ts'
import { temporaryFile, type TemporaryFile } from './sqlite-file.ts'

/** A file that the release before this one made, which knew of no owners, no index and no replicas. */
describe('a ledger file of the release before', () => {
  let file: TemporaryFile
  let clock: FakeClock
  let ledger: Ledger
  let session: LedgerSession

  const open = (): Promise<Ledger> => openSqliteLedger({ path: file.path, clock, logger: silentLogger })
  const inFile = <T>(work: (database: DatabaseSync) => T): T => {
    const database = new DatabaseSync(file.path)
    try {
      return work(database)
    } finally {
      database.close()
    }
  }
  const sids = async (): Promise<unknown> => {
    const found = await ledger.directory.ofSubject(session.identity.subjectHash)
    return found.state === 'found' ? found.sessions.map(({ sid }) => sid) : found.state
  }

  beforeEach(async () => {
    file = temporaryFile()
    clock = fakeClock()
    ledger = await open()
    clock.advance(1)
    session = await beginSession(ledger)
    await ledger.close()
    inFile((database) => {
      database.exec('DROP INDEX session_subject; DROP TABLE replica')
      database.exec("UPDATE session SET record = json_remove(record, '$.record.owner')")
    })
    ledger = await open()
    session = session.on(ledger)
  })
  afterEach(async () => {
    await ledger.close()
    file.removeFolder()
  })

  it('is opened, its sessions go on, and are found by their subject once they were shown', async () => {
    expect(await sids()).toEqual([])
    expect(await session.look(0)).toMatchObject({ state: 'current' })
    expect(await sids()).toEqual([session.sid])
    await session.refreshTo(1)
    expect(await sids()).toEqual([session.sid])
    expect(await ledger.directory.replicas()).toEqual({ state: 'found', replicas: [] })
  })

  it('can be shared with a process of that release: what it writes is found, and what it cannot read it leaves', async () => {
    await session.look(0)
    const columns = inFile((database) => {
      const row = database.prepare('SELECT sid, record, expires_at FROM session').get() as Record<string, string>
      // As that release writes: all columns, by their places.
      database.prepare('DELETE FROM session').run()
      database.prepare('INSERT INTO session VALUES (?, ?, ?)').run(row['sid']!, row['record']!, row['expires_at']!)
      return database.prepare('SELECT count(*) AS count FROM pragma_table_info(?)').get('session')
    })
    expect(columns).toEqual({ count: 3 })
    expect(await sids()).toEqual([session.sid])
  })
})
