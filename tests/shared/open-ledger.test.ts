import { mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import {
  configSchema,
  ledgerWarnings,
  LedgerOpenError,
  openLedger,
  systemClock,
  type Config,
} from '@token-handler/shared'
import { promisesWithoutLedger } from '../../shared/src/ledger/none.ts'
import { keptLog } from '../support/kept-log.ts'
import { beginSession } from './ledger-session.ts'
import { sqliteConfig, temporaryFile } from './sqlite-file.ts'

const parse = (ledger: unknown): Config['ledger'] => configSchema.shape.ledger.parse(ledger)

describe('the configured ledger', () => {
  const files: { removeFolder(): void }[] = []
  afterEach(() => {
    for (const file of files.splice(0)) file.removeFolder()
  })

  async function open(ledger: Config['ledger'], folder = '/nowhere') {
    const log = keptLog()
    return {
      log,
      ledger: await openLedger(
        { ...sqliteConfig('unused'), ledger },
        { clock: systemClock, logger: log.logger, folder },
      ),
    }
  }

  it('is an SQLite file beside the configuration, unless another is asked for', async () => {
    const file = temporaryFile()
    files.push(file)
    const { ledger, log } = await open(parse(undefined), dirname(file.path))
    expect(ledger.kind).toBe('sqlite')
    expect(ledger.rules.staleForMs()).toBe(0)
    expect(log.lines).toEqual([])
    const session = await beginSession(ledger)
    await ledger.close()
    const again = await open(parse({ type: 'sqlite' }), dirname(file.path))
    expect(await session.on(again.ledger).look(0)).toMatchObject({ state: 'current' })
    await again.ledger.close()
  })

  it('answers unknown after it was closed, and logs nothing', async () => {
    const file = temporaryFile()
    files.push(file)
    const { ledger, log } = await open(parse({ type: 'sqlite', file: file.path }))
    const session = await beginSession(ledger)
    await ledger.close()
    expect(await session.look(0)).toEqual({ state: 'unknown' })
    expect(log.lines).toEqual([])
  })

  it('says what is wrong when it cannot be opened', async () => {
    await expect(open(parse({ type: 'sqlite' }))).rejects.toThrow(LedgerOpenError)
    await expect(open(parse({ type: 'sqlite' }))).rejects.toThrow('The sqlite ledger cannot be opened: ENOENT')
    const file = temporaryFile()
    files.push(file)
    mkdirSync(file.path)
    await expect(open(parse({ type: 'sqlite', file: file.path }))).rejects.toThrow('cannot be opened')
  })

  it('prints every promise that does not hold without a ledger, as docs/sessions.md does', async () => {
    const { log, ledger } = await open(parse({ type: 'none' }))
    expect(ledger.kind).toBe('none')
    const printed = log.lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
    expect(printed).toEqual(promisesWithoutLedger.map((promise) => `Without a ledger: ${promise}.`))
    const documentation = readFileSync(new URL('../../docs/sessions.md', import.meta.url), 'utf8').replaceAll(
      /\s+/g,
      ' ',
    )
    for (const promise of promisesWithoutLedger) expect(documentation).toContain(promise)
  })

  it('warns of the memory ledger only besides', () => {
    expect(ledgerWarnings(parse({ type: 'memory' }))).toHaveLength(1)
    expect(ledgerWarnings(parse({ type: 'redis', url: 'redis://localhost' }))).toEqual([])
  })

  it.each([
    [{ type: 'redis' }],
    [{ type: 'redis', url: 'http://localhost' }],
    [{ type: 'redis', url: 'redis://localhost', key_prefix: 'a{b}' }],
    [{ type: 'sqlite', file: '' }],
    [{ type: 'sqlite', on_ledger_loss: 'ignore' }],
    [{ type: 'none', file: 'x' }],
    [{ type: 'postgres' }],
    [{}],
  ])('is not %j', (ledger) => {
    expect(configSchema.shape.ledger.safeParse(ledger).success).toBe(false)
  })
})
