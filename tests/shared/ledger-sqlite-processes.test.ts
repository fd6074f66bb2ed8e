import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openLedger, silentLogger, systemClock, type Ledger } from '@token-handler/shared'
import { until } from '../support/until.ts'
import { startLedgerProcess, type LedgerProcess } from './ledger-processes.ts'
import { beginSession } from './ledger-session.ts'
import { temporaryFile, type TemporaryFile } from './sqlite-file.ts'

describe('the sqlite ledger of several processes', () => {
  let file: TemporaryFile
  let config: Parameters<typeof openLedger>[0]
  let ledger: Ledger
  let processes: LedgerProcess[]

  beforeEach(async () => {
    file = temporaryFile()
    config = {
      ledger: { type: 'sqlite', file: file.path, on_ledger_loss: 'adopt' },
      session: { absolute_seconds: 43_200, idle_seconds: 3600, access_cookie_seconds: 900, access_token_seconds: 300 },
    }
    ledger = await openLedger(config, { clock: systemClock, logger: silentLogger, folder: '/' })
    processes = await Promise.all([1, 2, 3, 4].map(() => startLedgerProcess(config)))
  })

  afterEach(async () => {
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

  it('goes on when a process dies in the middle of it', async () => {
    const { identity } = await beginSession(ledger)
    const [killed, ...others] = processes
    const cut = killed!.race(identity, 1_000_000).catch(() => 'killed')
    const rest = others.map((each) => each.race(identity, 200))
    await killed!.kill()
    expect(await cut).toBe('killed')
    // A lease that died with its holder is waited for; nothing else may stand in the way.
    const other = await beginSession(ledger)
    await other.refreshTo(1)
    await until('the others are still there', async () => (await other.look(1)).state === 'current')
    for (const each of rest) each.catch(() => undefined)
  })
})
