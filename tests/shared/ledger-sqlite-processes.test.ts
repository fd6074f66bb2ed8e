import { execFile } from 'node:child_process'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { openLedger, silentLogger, systemClock, type Ledger } from '@token-handler/shared'
import { until } from '../support/until.ts'
import { startLedgerProcess, type LedgerProcess } from './ledger-processes.ts'
import { beginSession } from './ledger-session.ts'
import { sqliteConfig, temporaryFile, type TemporaryFile } from './sqlite-file.ts'

describe('the sqlite ledger of several processes', () => {
  let file: TemporaryFile
  let ledger: Ledger
  let processes: LedgerProcess[]

  beforeAll(async () => {
    file = temporaryFile()
    const config = sqliteConfig(file.path)
    ledger = await openLedger(config, { clock: systemClock, logger: silentLogger, folder: '/' })
    processes = await Promise.all([1, 2, 3, 4].map(() => startLedgerProcess(config)))
  })

  afterAll(async () => {
    await Promise.all(processes.map((each) => each.kill()))
    await ledger.close()
    file.removeFolder()
  })

  it('[B-RT-04] grants every lease and takes every commit once, however many ask', async () => {
    const last = 400
    const { identity } = await beginSession(ledger)
    const results = await Promise.all(processes.map((each) => each.race(identity, last)))
    expect(results.flatMap(({ surprises }) => surprises)).toEqual([])
    const committed = results.flatMap((result) => result.committed).toSorted((a, b) => a - b)
    expect(committed).toEqual(Array.from({ length: last }, (_, generation) => generation))
    expect(results.filter((result) => result.committed.length > 0).length).toBeGreaterThan(1)
  })

  it('ends a session in all of them within a second', async () => {
    const delays: number[] = []
    for (let round = 0; round < 10; round++) {
      const session = await beginSession(ledger)
      const watched = await Promise.all(processes.map((each) => each.watch(session.identity)))
      const endedAt = Date.now()
      await session.end('logout')
      for (const { seenAt } of watched) delays.push((await seenAt) - endedAt)
    }
    expect(Math.max(...delays)).toBeLessThan(1000)
  })

  it('keeps a sound file when all of them are killed in the middle of it', async () => {
    const { identity } = await beginSession(ledger)
    const races = processes.map((each) => each.race(identity, 1_000_000).catch(() => 'killed'))
    const database = new DatabaseSync(file.path, { readOnly: true })
    const record = database.prepare('SELECT record FROM session WHERE sid = ?')
    await until('they are at it', () => /"generation":\d\d/.test(String(record.get(identity.sid)?.['record'])))
    await Promise.all(processes.map((each) => each.kill()))
    expect(await Promise.all(races)).toEqual(races.map(() => 'killed'))
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
    database.close()
    const other = await beginSession(ledger)
    await other.refreshTo(3)
    expect(await other.look(3)).toMatchObject({ state: 'current' })
  })
})

describe('a sqlite ledger that is not there yet', () => {
  it('is made by one process, while the others wait: one could remove what another already writes', async () => {
    const file = temporaryFile()
    const maker = fileURLToPath(new URL('./sqlite-maker.ts', import.meta.url))
    const options = ['--conditions=development', '--disable-warning=ExperimentalWarning']
    const { stdout } = await promisify(execFile)(process.execPath, [...options, maker, file.path, 'maker'])
    expect(stdout).toBe('other: busy\nmaker: opened\n')
    file.removeFolder()
  })
})
