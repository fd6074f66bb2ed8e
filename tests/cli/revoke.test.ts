import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  identityHash,
  openSqliteLedger,
  silentLogger,
  systemClock,
  type Ledger,
  type SessionIdentity,
} from '@token-handler/shared'
import { randomSid } from '../shared/ledger-session.ts'
import { until } from '../support/until.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

/** A process that runs on the ledger, while commands are given beside it. */
let folder: WorkingFolder
let replica: Ledger
beforeEach(async () => {
  folder = workingFolder()
  folder.configure({ ledger: { type: 'sqlite', file: 'sessions.db' }, audit: { sink: 'off' } })
  replica = await openSqliteLedger({
    path: join(folder.path, 'sessions.db'),
    clock: systemClock,
    logger: silentLogger,
    rules: { clientHash: identityHash('https://as.example', 'spa') },
  })
})
afterEach(async () => {
  await replica.close()
  await folder.remove()
})

async function session(sub: string, facts: Partial<SessionIdentity> = {}): Promise<SessionIdentity> {
  const sid = randomSid()
  const begun = await replica.begin(sid, { absoluteSeconds: 43_200, idleSeconds: 3600 })
  if (begun.state !== 'begun') throw new Error('no ledger')
  const subjectHash = identityHash('https://as.example', sub)
  const identity = { sid, startedAt: begun.startedAt, subjectHash, ...facts }
  await replica.complete(identity)
  return identity
}

const isOver = (identity: SessionIdentity): boolean => replica.rules.endOf(identity) !== undefined

describe('token-handler revoke', () => {
  it('ends the sessions of a subject in the processes that run, after a dry run that ended none', async () => {
    const [one, two, other] = [await session('alice'), await session('alice'), await session('bob')]
    const tried = await folder.run(['revoke', '--sub', 'alice', '--dry-run'])
    expect([tried.code, tried.stderr, tried.stdout]).toEqual([0, '', 'This would end 2 live sessions.\n'])
    const done = await folder.run(['revoke', '--sub', 'alice', '--reason', 'incident-42'])
    expect([done.code, done.stderr]).toEqual([0, ''])
    expect(done.stdout).toMatch(/^2 live sessions that began before \S+Z ended; the rule is kept until \S+Z\.\n$/)
    await until('the process knows', () => isOver(one) && isOver(two))
    expect(isOver(other)).toBe(false)
    expect((await folder.run(['revoke', '--sub', 'alice', '--dry-run'])).stdout).toBe(
      'This would end 0 live sessions.\n',
    )
  })

  it.each([
    ['--sid', (one: SessionIdentity) => one.sid],
    ['--as-sid', () => 'as-session'],
    ['--client', () => 'spa'],
    ['--kid', () => 'k1'],
    ['--all', () => undefined],
  ])('takes %s', async (option, value) => {
    const one = await session('alice', { asSessionHash: identityHash('https://as.example', 'as-session'), kid: 'k1' })
    const given = value(one)
    const answer = await folder.run(['revoke', option, ...(given === undefined ? [] : [given]), '--json'])
    expect([answer.code, answer.stderr]).toEqual([0, ''])
    expect(JSON.parse(answer.stdout)).toMatchObject({ dry_run: false, before: expect.any(String) })
    await until('the process knows', () => isOver(one))
  })

  it('does not claim that anybody was touched where it did not count', async () => {
    const { code, stdout } = await folder.run(['revoke', '--client', 'a-slip'])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^All such sessions that began before \S+Z are over; how many there were is not known \(a dry run counts first\)\. The rule is kept until \S+Z\.\n$/,
    )
  })

  it('ends the sessions of a subject though one of the records is of a newer release', async () => {
    const [one, newer] = [await session('alice'), await session('alice')]
    const database = new DatabaseSync(join(folder.path, 'sessions.db'))
    database.prepare(`UPDATE session SET record = json_set(record, '$.v', 2) WHERE sid = ?`).run(newer.sid)
    database.close()
    const listed = await folder.run(['sessions', '--sub', 'alice'])
    expect(listed.stdout).toMatch(new RegExp(`\n${one.sid} .*\nNot listed: 1 record that cannot be read\\.\n$`))
    const tried = await folder.run(['revoke', '--sub', 'alice', '--dry-run'])
    expect(tried.stdout).toBe('This would end 1 live session. Not counted: 1 record that cannot be read.\n')
    const done = await folder.run(['revoke', '--sub', 'alice', '--json'])
    expect([done.code, JSON.parse(done.stdout)]).toEqual([0, expect.objectContaining({ sessions: 1, unreadable: 1 })])
    await until('the process knows', () => isOver(one) && isOver(newer))
  })

  it('ends sessions from a shell that has none of the secrets of the service', async () => {
    const one = await session('alice')
    folder.configure({
      authorization_server: { client_authentication: { client_secret: '${CLIENT_SECRET}' } },
      admin: { port: 3001, keys: { 'on-call': '${ADMIN_KEY}' } },
      ledger: { type: 'sqlite', file: 'sessions.db' },
      audit: { sink: 'off' },
    })
    expect(await folder.run(['revoke', '--all'])).toMatchObject({ code: 0, stderr: '' })
    await until('the process knows', () => isOver(one))
  })

  it('leaves alone what began after --before', async () => {
    const one = await session('alice')
    const before = new Date(one.startedAt).toISOString()
    const answer = await folder.run(['revoke', '--all', '--before', before, '--dry-run', '--json'])
    expect(JSON.parse(answer.stdout)).toEqual({ target: 'all', dry_run: true, before, sessions: 0 })
  })

  it.each([
    [['revoke', '--all', '--sub', 'alice'], 'exactly one of'],
    [['revoke', '--all', '--before', 'yesterday'], '--before must be a time with its offset or Z'],
    [['revoke', '--all', '--before', '2026-11-27'], 'such as 2026-11-27T06:00:00Z'],
    [['revoke', '--all', 'dry-run'], 'revoke takes no "dry-run"'],
    [['revoke', '--all', '--', '--dry-run'], 'revoke takes no "--dry-run"'],
    [['revoke', '--all', ''], 'revoke takes no ""'],
    [['sessions', '--sub', 'alice', 'json'], 'sessions takes no "json"'],
    [['sessions', '--sub', 'alice', '--sid', 'x'], 'sessions needs'],
  ])('says what is wrong with %j', async (args, message) => {
    const { code, stderr, stdout } = await folder.run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
    expect(replica.rules.size).toBe(0)
  })

  it('is recorded as done by the command line, with the subject by a pseudonym', async () => {
    const one = await session('alice')
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure({ ledger: { type: 'sqlite', file: 'sessions.db' }, audit: { sink: 'files', folder: 'audit' } })
    const done = await folder.run(['revoke', '--sub', 'alice', '--reason', 'incident-42'])
    expect([done.code, done.stderr]).toEqual([0, ''])
    await until('the process knows', () => isOver(one))
    await folder.run(['sessions', '--sub', 'alice'])
    const files = readdirSync(join(folder.path, 'audit'), { recursive: true, withFileTypes: true })
    const text = files
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
      .join('\n')
    expect(text).toMatch(/"event":"revocation".*"actor":"command-line"/)
    expect(text).toMatch(/"event":"admin".*"actor":"command-line"/)
    expect(text).toContain('incident-42')
    expect(text).not.toContain('alice')
  })

  it('ends sessions also where it cannot be recorded, and says so', async () => {
    const one = await session('alice')
    folder.configure({ ledger: { type: 'sqlite', file: 'sessions.db' } })
    const { code, stderr } = await folder.run(['revoke', '--all'])
    expect(code).toBe(0)
    expect(stderr).toContain('This command is not recorded.')
    await until('the process knows', () => isOver(one))
  })

  it('is no use with a ledger that no other process sees', async () => {
    folder.configure({ ledger: { type: 'memory' } })
    const { code, stderr } = await folder.run(['revoke', '--all'])
    expect(code).toBe(2)
    expect(stderr).toContain('use the admin API')
  })

  it.each([
    [['revoke', '--all'], 'whether the sessions ended is not certain; repeat the command, which does no harm'],
    [['revoke', '--all', '--dry-run'], 'the ledger cannot be reached\n'],
  ])('fails, and says what is certain, when the ledger does not answer: %j', async (args, message) => {
    folder.configure({ ledger: { type: 'redis', url: 'redis://127.0.0.1:9' }, audit: { sink: 'off' } })
    const { code, stderr, stdout } = await folder.run(args)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('nothing was')
  })
})

describe('token-handler sessions', () => {
  it('lists the live sessions of a subject, or one session', async () => {
    const one = await session('alice', { kid: 'k1' })
    await session('bob')
    const listed = await folder.run(['sessions', '--sub', 'alice'])
    expect([listed.code, listed.stderr]).toEqual([0, ''])
    expect(listed.stdout.split('\n').map((line) => line.split(/\s{2,}/))).toEqual([
      ['SESSION', 'STARTED', 'LAST ACTIVE', 'EXPIRES', 'REFRESHES', 'KEY'],
      [one.sid, expect.any(String), expect.any(String), expect.any(String), '0', 'k1'],
      [''],
    ])
    const { stdout } = await folder.run(['sessions', '--sid', one.sid, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ sessions: [{ sid: one.sid, kid: 'k1' }] })
    expect((await folder.run(['sessions', '--sub', 'nobody'])).stdout).toBe('There is no live session.\n')
  })

  it('takes an id that begins with a hyphen, and no slip for an id', async () => {
    const none = await folder.run(['sessions', '--sid', '-bcdefghijklmnopqrstuv'])
    expect([none.code, none.stdout]).toEqual([0, 'There is no live session.\n'])
    const { code, stderr } = await folder.run(['sessions', '--sid', '--jsn'])
    expect(code).toBe(2)
    expect(stderr).toContain("'--sid' argument is ambiguous")
  })
})
