import { randomBytes } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  auditSources,
  createAuditKey,
  createAuditLog,
  createFileSink,
  eraseSubject,
  recordsOfSubject,
  verifyAudit,
  type AppendedFile,
  type AuditEvent,
  type AuditKey,
  type AuditLog,
} from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog } from '../support/kept-log.ts'
import { until } from '../support/until.ts'
import { auditOptions, issuer, parseRecords, systemError } from './audit-kit.ts'

let folder: string
let clock: FakeClock
let key: AuditKey
const running: AuditLog[] = []

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'audit-')), 'audit')
  clock = fakeClock()
  key = createAuditKey(randomBytes(32), 'k1')
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((log) => log.close()))
  rmSync(join(folder, '..'), { recursive: true })
})

/** A process that writes into the folder. */
function start(faults?: (path: string) => Promise<AppendedFile>): AuditLog {
  const log = createAuditLog({
    options: auditOptions({ files: { folder, retentionDays: 90 } }),
    keys: { current: () => key, all: () => [key] },
    sink: createFileSink({ folder, ...(faults === undefined ? {} : { openFile: faults }) }),
    clock,
    logger: keptLog().logger,
  })
  running.push(log)
  return log
}

const login = (subject: string, sid = `sid of ${subject}`): AuditEvent => ({
  event: 'login',
  outcome: 'success',
  subject,
  sid,
})
const names = (): string[] => readdirSync(folder).toSorted()
const textOf = (name = names()[0] ?? ''): string => readFileSync(join(folder, name), 'utf8')
const verify = async (keys = [key]) => verifyAudit(await auditSources(folder), keys)
async function problems(): Promise<string[]> {
  return (await verify()).problems.map(({ file, line, what }) => `${names().indexOf(file)}:${line} ${what}`)
}
/** One process, from start to stop. */
async function run(...events: readonly AuditEvent[]): Promise<void> {
  const log = start()
  for (const event of events) log.record(event)
  await log.close()
}
function rewrite(name: string, change: (lines: string[]) => string[]): void {
  writeFileSync(
    join(folder, name),
    change(textOf(name).split('\n').slice(0, -1))
      .map((line) => `${line}\n`)
      .join(''),
  )
}

describe('files of the audit log', () => {
  it('are for their owner alone, and hold whole chains', async () => {
    await run(login('user-1'), login('user-2'))
    const [name = ''] = names()
    expect(name).toMatch(/^audit-\d{8}-[0-9a-f]{12}-0000\.jsonl$/)
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(parseRecords(textOf()).map(({ event }) => event)).toEqual(['log_opened', 'login', 'login', 'log_closed'])
    expect(await verify()).toMatchObject({ files: 1, chains: 1, records: 4, problems: [], open: [] })
  })

  it('go on in a new one every day, and bear witness to each other over restarts', async () => {
    const log = start()
    log.record(login('user-1'))
    await log.flush()
    clock.advanceSeconds(86_400)
    log.record(login('user-2'))
    await log.flush()
    await run(login('user-3'))
    expect(names()).toHaveLength(3)
    const others = parseRecords(textOf(names()[2])).concat(parseRecords(textOf(names()[1])))
    expect(others.flatMap(({ log: opening }) => opening?.others ?? [])).toHaveLength(1)
    expect(await verify()).toMatchObject({ chains: 2, problems: [], open: [{ n: 4 }] })
  })

  it('are whole where the clock was set back over midnight', async () => {
    const log = start()
    for (const jump of [0, 86_400_000, -86_400_000]) {
      clock.jump(jump)
      log.record(login('user-1'))
      await log.flush()
    }
    await log.close()
    expect(names()).toHaveLength(3)
    expect(await verify()).toMatchObject({ files: 3, chains: 1, problems: [], open: [] })
  })

  it('of several processes at once do not disturb each other', async () => {
    const logs = [start(), start(), start()]
    for (let round = 0; round < 300; round++) logs.forEach((log, at) => log.record(login(`user-${at}`)))
    await Promise.all(logs.map((log) => log.close()))
    expect(await verify()).toMatchObject({ files: 3, chains: 3, records: 906, problems: [], open: [] })
  })

  it('are removed after their retention, and are not missed then', async () => {
    await run(login('user-1'))
    clock.advanceSeconds(89 * 86_400)
    await run(login('user-2'))
    expect(names()).toHaveLength(2)
    clock.advanceSeconds(2 * 86_400)
    const [old = ''] = names()
    await run(login('user-3'))
    expect(names()).toHaveLength(2)
    const records = names().flatMap((name) => parseRecords(textOf(name)))
    expect(records.filter(({ event }) => event === 'records_removed')).toMatchObject([{ details: { files: [old] } }])
    expect(await problems()).toEqual([])
  })

  it('change keys with a new part, and verify with both', async () => {
    const old = key
    const log = start()
    log.record(login('user-1'))
    await log.flush()
    key = createAuditKey(randomBytes(32), 'k2')
    log.record(login('user-1'))
    await log.close()
    expect(names()).toHaveLength(2)
    expect(await verify([key, old])).toMatchObject({ problems: [], open: [] })
    const found = (await verify([key])).problems
    expect(found).toMatchObject([{ line: 1, what: 'is coded under the key k1, which is not known here' }])
  })
})

describe('verification finds', () => {
  const victim = (line: string): string => line.replace('"outcome":"success"', '"outcome":"refused"')

  beforeEach(() => run(login('user-1'), login('user-2'), login('user-3')))

  it('a record that was changed', async () => {
    rewrite(names()[0] ?? '', (lines) => lines.map((line, at) => (at === 2 ? victim(line) : line)))
    expect(await problems()).toEqual(['0:3 was changed, or does not follow the record before'])
  })

  it('whom a record names, changed or taken away', async () => {
    rewrite(names()[0] ?? '', (lines) =>
      lines.map((line, at) => {
        if (at === 1) return line.replace(/"sid":"./, '"sid":"_')
        return at === 2 ? line.replace(/"who":\{.*?\},/, '') : line
      }),
    )
    expect(await problems()).toEqual([
      '0:2 names somebody else than when it was written',
      '0:3 has lost whom it named, without the key',
    ])
  })

  it('records that are missing, come twice, or have other places', async () => {
    rewrite(names()[0] ?? '', (lines) => lines.filter((_line, at) => at !== 2))
    expect((await problems())[0]).toMatch(/^0:3 records 2 to 2 of chain \w+ are missing$/)
    rewrite(names()[0] ?? '', (lines) => [...lines.slice(0, 2), ...lines.slice(1)])
    expect((await problems())[0]).toMatch(/^0:3 record 1 of chain \w+ comes again, or too late$/)
  })

  it('an end that was cut in the middle of a line', async () => {
    truncateSync(join(folder, names()[0] ?? ''), textOf().length - 10)
    expect(await problems()).toEqual(['0:5 is cut off in the middle'])
    expect((await verify()).open).toHaveLength(1)
  })

  it('an end that was cut between lines, by what others saw', async () => {
    const [name = ''] = names()
    await run(login('user-4'))
    const head = parseRecords(textOf(name)).at(-1)
    rewrite(name, (lines) => lines.slice(0, 3))
    expect((await problems())[0]).toMatch(/ends at record 2 .* saw record 4: its end was cut off$/)
    expect((await verify()).open).toMatchObject([{ file: name, n: 2 }])
    const [other = ''] = names().filter((one) => one !== name)
    unlinkSync(join(folder, other))
    const heads = [{ chain: head?.chain ?? '', n: 4, hash: head?.hash ?? '' }]
    expect((await verifyAudit(await auditSources(folder), [key], heads)).problems).toHaveLength(1)
  })

  it('a file that is missing', async () => {
    const [name = ''] = names()
    await run(login('user-4'))
    await run(login('user-5'))
    unlinkSync(join(folder, name))
    const { problems: found } = await verify()
    expect(found.map(({ file, what }) => [file, what.slice(0, 10)])).toEqual([[name, 'is missing']])
    unlinkSync(join(folder, names()[0] ?? ''))
    expect(new Set((await verify()).problems.map(({ what }) => what.slice(0, 10)))).toEqual(new Set(['is missing']))
  })

  it('a log that somebody without the key has written anew', async () => {
    const forger = createAuditKey(randomBytes(32), 'k1')
    const real = key
    key = forger
    rmSync(folder, { recursive: true })
    await run(login('somebody else'))
    key = real
    expect((await problems()).length).toBeGreaterThan(1)
  })
})

describe('a disk that fails', () => {
  it('leaves no gap and no half record once it is well again', async () => {
    let isFull = false
    const log = start(async (path) => {
      const file = await openFile(path, 'r+').catch(() => openFile(path, 'wx+', 0o600))
      return {
        // A full disk takes a part of what it is given.
        async write(bytes, offset, length, position) {
          if (!isFull) return file.write(bytes, offset, length, position)
          await file.write(bytes, offset, Math.floor(length / 2), position)
          throw systemError('ENOSPC')
        },
        datasync: () => file.datasync(),
        close: () => file.close(),
      }
    })
    mkdirSync(folder)
    log.record(login('user-1'))
    await log.flush()
    isFull = true
    log.record(login('user-2'))
    await until('the failure', () => log.counts().isFailing)
    log.record(login('user-3'))
    isFull = false
    await log.close()
    expect(parseRecords(textOf())).toHaveLength(5)
    expect(await verify()).toMatchObject({ records: 5, problems: [], open: [] })
  })

  it('that is not there at the start is waited for', async () => {
    writeFileSync(folder, 'a file where the folder should be')
    const log = start()
    log.record(login('user-1'))
    await until('the failure', () => log.counts().isFailing)
    rmSync(folder)
    await log.flush()
    expect(await verify()).toMatchObject({ records: 2, problems: [] })
  })
})

describe('one subject', () => {
  const search = async (subject: string) => ({ sources: await auditSources(folder), keys: [key], issuer, subject })
  async function exported(subject: string) {
    const found = []
    for await (const { record } of recordsOfSubject(await search(subject))) found.push(record)
    return found
  }

  beforeEach(() =>
    run(
      login('user-1', 'sid 1'),
      login('user-2', 'sid 2'),
      { event: 'session_ended', outcome: 'success', reason: 'replaced', sid: 'sid 1' },
      { event: 'guard_refused', outcome: 'refused', address: '192.0.2.1' },
    ),
  )

  it('is found with all of its sessions, over all files', async () => {
    await run({ event: 'refresh', outcome: 'success', subject: 'user-1', sid: 'sid 1' })
    expect((await exported('user-1')).map(({ event }) => event).toSorted()).toEqual([
      'login',
      'refresh',
      'session_ended',
    ])
    expect(await exported('user-3')).toEqual([])
  })

  it('is erased without a trace, and the chain holds', async () => {
    const size = textOf().length
    expect(await eraseSubject(await search('user-1'))).toEqual({ erased: 2, left: 0 })
    expect(await exported('user-1')).toEqual([])
    expect(await exported('user-2')).toHaveLength(1)
    expect(textOf()).toHaveLength(size)
    expect(await verify()).toMatchObject({ records: 6, erased: 2, problems: [] })
    expect(parseRecords(textOf()).map(({ who }) => who !== undefined)).toEqual([false, false, true, false, true, false])
  })

  it('is erased while a process goes on writing into the same file', async () => {
    const log = start()
    log.record(login('user-1', 'sid 3'))
    await log.flush()
    expect(await eraseSubject(await search('user-1'))).toEqual({ erased: 3, left: 0 })
    log.record(login('user-9'))
    await log.close()
    expect(await verify()).toMatchObject({ erased: 3, problems: [], open: [] })
    expect(await exported('user-9')).toHaveLength(1)
  })

  it('is not said to be erased where the key is not known', async () => {
    const other = createAuditKey(randomBytes(32), 'k2')
    const found = await search('user-1')
    expect(await eraseSubject({ ...found, keys: [other] })).toEqual({ erased: 0, left: 0 })
    expect(await exported('user-1')).toHaveLength(2)
  })
})
