import { readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  keyFileSchema,
  openSqliteLedger,
  silentLogger,
  systemClock,
  type KeyFile,
  type Ledger,
} from '@token-handler/shared'
import { Canaries } from '../support/canary.ts'
import { workingFolder, type Ended, type WorkingFolder } from './command-line.ts'

let folder: WorkingFolder
let ledger: Ledger
beforeEach(async () => {
  folder = workingFolder()
  folder.configure({})
  await folder.run(['keys', 'generate', '--out', 'keys.json'])
  ledger = await openSqliteLedger({
    path: join(folder.path, 'token-handler.db'),
    clock: systemClock,
    logger: silentLogger,
  })
})
afterEach(async () => {
  await ledger.close()
  await folder.remove()
})

const fileNow = (name = 'keys.json'): KeyFile => keyFileSchema.parse(JSON.parse(folder.read(name)))
const states = (): string[] => fileNow().keys.map(({ state }) => state)
const kidAt = (index: number): string => fileNow().keys[index]?.kid ?? ''
const write = (file: KeyFile): void => folder.write('keys.json', JSON.stringify(file))
const run = (...args: string[]): Promise<Ended> => folder.run(['keys', ...args])

async function announce(pid: number, kids: readonly string[]): Promise<void> {
  const facts = { version: '0', parts: 'agent and proxy', host: 'there', pid, startedAt: Date.now(), kids }
  await ledger.directory.announce(`replica ${pid}`, facts)
}

/** A live session whose newest cookies a key sealed. */
async function sealSession(kid: string): Promise<void> {
  const sid = `${Math.random()}`.padEnd(22, '0').slice(0, 22)
  const begun = await ledger.begin(sid, { absoluteSeconds: 3600, idleSeconds: 3600 })
  if (begun.state !== 'begun') throw new Error('begun')
  await ledger.complete({ sid, startedAt: begun.startedAt, subjectHash: 'somebody', kid })
}

/** As if the active key had been replaced so long ago. */
function replaceActive(hoursAgo: number | undefined): void {
  const [entry] = fileNow().keys
  if (entry === undefined) throw new Error('a key')
  const deactivated =
    hoursAgo === undefined ? {} : { deactivated: new Date(Date.now() - hoursAgo * 3_600_000).toISOString() }
  const fresh = {
    kid: 'fresh',
    state: 'active' as const,
    key: Buffer.from('0123456789abcdefghijklmnopqrstuv').toString('base64url'),
  }
  write({ keys: [{ ...entry, state: 'open-only', ...deactivated }, fresh] })
}

describe('token-handler keys add', () => {
  it('[E-KM-01] adds a key that seals nothing yet, and says its id but not the key', async () => {
    const before = folder.read('keys.json')
    const { code, stdout } = await run('add')
    expect([code, states()]).toEqual([0, ['active', 'pending']])
    expect(stdout).toBe(`Added, pending: ${kidAt(1)}\n`)
    expect(fileNow().keys[0]).toEqual((JSON.parse(before) as KeyFile).keys[0])
    const canaries = new Canaries()
    fileNow().keys.forEach(({ key = '' }, at) => canaries.watch(`key ${at}`, key))
    expect(canaries.find(stdout)).toEqual([])
  })

  it('[E-KM-08] leaves a file that only its owner can read, and nothing else with a key in it', async () => {
    const { mode } = statSync(join(folder.path, 'keys.json'))
    await run('add')
    expect(statSync(join(folder.path, 'keys.json')).mode).toBe(mode)
    const rest = readdirSync(folder.path).filter((name) => name.startsWith('keys.json.'))
    expect(rest.map((name) => [name, folder.read(name)])).toEqual([['keys.json.lock', '']])
  })

  it('loses none of those that are added at the same time', async () => {
    const ends = await Promise.all(Array.from({ length: 5 }, () => run('add')))
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0])
    expect(states()).toEqual(['active', ...Array.from({ length: 5 }, () => 'pending')])
  })

  it('follows a symbolic link, and leaves it one', async () => {
    symlinkSync('keys.json', join(folder.path, 'link.json'))
    expect((await run('add', '--file', 'link.json')).code).toBe(0)
    expect(states()).toHaveLength(2)
  })

  it('[E-KM-07] brings the keys of an export into the file of a proxy, and twice is once', async () => {
    await run('export', '--purpose', 'access-token', '--out', 'proxy.json')
    await run('add')
    await run('export', '--purpose', 'access-token', '--out', 'export.json')
    expect((await run('add', '--file', 'proxy.json', '--from', 'export.json')).stdout).toContain(kidAt(1))
    expect(fileNow('proxy.json').keys).toMatchObject([
      { state: 'active' },
      { kid: kidAt(1), state: 'pending', derived: { 'access-token': expect.any(String) } },
    ])
    expect((await run('add', '--file', 'proxy.json', '--from', 'export.json')).stdout).toBe('Nothing to add.\n')
    const { code, stderr } = await run('add', '--file', 'proxy.json')
    expect([code, stderr]).toEqual([1, expect.stringContaining('where the master keys are')])
  })

  it('refuses a file that has another key by the same id', async () => {
    const [entry] = fileNow().keys
    await run('generate', '--out', 'other.json')
    const [other] = fileNow('other.json').keys
    writeFileSync(join(folder.path, 'other.json'), JSON.stringify({ keys: [{ ...other, kid: entry?.kid }] }))
    const { code, stderr } = await run('add', '--from', 'other.json')
    expect([code, stderr]).toEqual([1, expect.stringContaining('is another one in the other file')])
    expect(fileNow().keys).toEqual([entry])
  })
})

describe('token-handler keys activate', () => {
  it('[E-KM-01] is refused while a live process does not report the key, and names it', async () => {
    await run('add')
    await announce(1, [kidAt(0), kidAt(1)])
    await announce(2, [kidAt(0)])
    const { code, stderr } = await run('activate', kidAt(1))
    expect([code, states()]).toEqual([1, ['active', 'pending']])
    expect(stderr).toContain('refused: it is unknown to agent and proxy on there (process 2). Nothing was changed')
  })

  it('[E-KM-01] seals with the key once every live process reports it, and goes on opening with the one before', async () => {
    await run('add')
    await announce(1, [kidAt(0), kidAt(1)])
    const { code, stderr } = await run('activate', kidAt(1))
    expect([code, stderr, states()]).toEqual([0, '', ['open-only', 'active']])
    expect(Date.now() - Date.parse(fileNow().keys[0]?.deactivated ?? '')).toBeLessThan(60_000)
    expect((await run('activate', kidAt(1))).stdout).toBe(`${kidAt(1)} is active.\n`)
  })

  it('can be taken back', async () => {
    await run('add')
    await announce(1, [kidAt(0), kidAt(1)])
    await run('activate', kidAt(1))
    await run('activate', kidAt(0))
    expect(states()).toEqual(['active', 'open-only'])
    expect(fileNow().keys[0]).not.toHaveProperty('deactivated')
  })

  it('is refused where nobody was heard of, and warns when it is forced', async () => {
    await run('add')
    expect((await run('activate', kidAt(1))).stderr).toContain('no running process was heard of in the ledger')
    const { code, stderr } = await run('activate', kidAt(1), '--force')
    expect([code, states()]).toEqual([0, ['open-only', 'active']])
    expect(stderr).toContain('WARNING: forced, although no running process was heard of')
  })

  it.each([['none'], ['memory']])('needs --force with the ledger %s', async (type) => {
    folder.configure({ ledger: { type } })
    await run('add')
    const { code, stderr } = await run('activate', kidAt(1))
    expect([code, stderr]).toEqual([1, expect.stringContaining('there is no ledger to ask what other processes do')])
    expect((await run('activate', kidAt(1), '--force')).code).toBe(0)
  })

  it('is refused while the ledger cannot be reached', async () => {
    folder.configure({ ledger: { type: 'redis', url: 'redis://127.0.0.1:1' } })
    await run('add')
    const { code, stderr } = await run('activate', kidAt(1))
    expect([code, stderr]).toEqual([1, expect.stringContaining('the ledger cannot be reached')])
  })

  it('knows only keys of the file', async () => {
    const { code, stderr } = await run('activate', 'other')
    expect([code, stderr]).toEqual([1, 'token-handler: the key file has no key other\n'])
    expect((await run('activate')).stderr).toContain('keys activate needs one key id')
  })
})

describe('token-handler keys retire', () => {
  it('[E-KM-01] is refused while cookies that it sealed may live', async () => {
    replaceActive(11)
    const { code, stderr } = await run('retire', kidAt(0))
    expect([code, states()]).toEqual([1, ['open-only', 'active']])
    expect(stderr).toContain('cookies of it may live until ')
  })

  it('[E-KM-01] forgets the key after the longest life of a session', async () => {
    replaceActive(13)
    expect((await run('retire', kidAt(0))).code).toBe(0)
    expect(fileNow().keys[0]).toMatchObject({ state: 'retired' })
    expect(fileNow().keys[0]).not.toHaveProperty('key')
    expect((await run('list', '--file', 'keys.json')).stdout).toMatch(/ retired .* -$/m)
  })

  it('is refused while a live session was sealed by it, whatever the file says, and tells how many', async () => {
    replaceActive(13)
    await Promise.all([sealSession(kidAt(0)), sealSession(kidAt(0)), sealSession('fresh')])
    const { code, stdout, stderr } = await run('retire', kidAt(0))
    expect([code, states()]).toEqual([1, ['open-only', 'active']])
    expect(stdout).toBe(`Live sessions whose newest cookies ${kidAt(0)} sealed: 2.\n`)
    expect(stderr).toContain('refused: 2 live sessions would end. Nothing was changed')
  })

  it('is refused while a record cannot be read: the key may have sealed its cookies', async () => {
    replaceActive(13)
    await sealSession('fresh')
    const database = new DatabaseSync(join(folder.path, 'token-handler.db'))
    database.exec(`UPDATE session SET record = json_set(record, '$.v', 2)`)
    database.close()
    const { code, stderr } = await run('retire', kidAt(0))
    expect([code, states()]).toEqual([1, ['open-only', 'active']])
    expect(stderr).toContain(
      'refused: records in the ledger that cannot be read, and so may be its: 1. Nothing was changed',
    )
  })

  it('tells beforehand what it would do, and does nothing', async () => {
    replaceActive(13)
    const dry = await run('retire', kidAt(0), '--dry-run')
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining(`${kidAt(0)} can be retired.`)])
    await sealSession(kidAt(0))
    expect((await run('retire', kidAt(0), '--dry-run')).stdout).toContain('is refused: 1 live sessions would end.')
    expect(states()).toEqual(['open-only', 'active'])
  })

  it('is done all the same when it is forced, with a warning', async () => {
    replaceActive(undefined)
    expect((await run('retire', kidAt(0))).stderr).toContain('does not tell since when the key seals no more')
    const { code, stderr } = await run('retire', kidAt(0), '--force')
    expect([code, states()]).toEqual([0, ['retired', 'active']])
    expect(stderr).toContain('WARNING: forced')
    expect((await run('activate', kidAt(0), '--force')).stderr).toContain('is retired and cannot be taken back')
  })

  it('never ends the active key', async () => {
    const { code, stderr } = await run('retire', kidAt(0), '--force')
    expect([code, stderr]).toEqual([1, expect.stringContaining('activate another one first')])
  })

  it('ends a key that was added and never used', async () => {
    await run('add')
    expect((await run('retire', kidAt(1))).code).toBe(0)
    expect(states()).toEqual(['active', 'retired'])
  })
})
