import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  buildKeyRing,
  checkConfig,
  loadKeyFile,
  openAuditLog,
  silentLogger,
  systemClock,
  type AuditEvent,
} from '@token-handler/shared'
import { parseRecords } from '../shared/audit-kit.ts'
import { configured } from '../shared/configuration.ts'
import { randomSid } from '../shared/ledger-session.ts'
import { workingFolder, type Ended, type WorkingFolder } from './command-line.ts'

/** Commands are slow to start on a busy machine. */
const patienceMs = 180_000

let folder: WorkingFolder
beforeEach(async () => {
  folder = workingFolder()
  folder.configure({ audit: { sink: 'files' } })
  await folder.run(['keys', 'generate', '--out', 'keys.json'])
})
afterEach(() => folder.remove())

const audit = (...args: string[]): Promise<Ended> => folder.run(['audit', ...args])

/** Records of a process that ran with a configuration, in ./audit. */
async function records(events: readonly AuditEvent[], changes: object = {}): Promise<void> {
  const config = checkConfig(configured({ audit: { sink: 'files' }, ...changes }))
  const { issuer, client_id: clientId } = config.authorization_server
  const ring = buildKeyRing(loadKeyFile(join(folder.path, 'keys.json')), { issuer, clientId })
  const log = openAuditLog(config, { ring: () => ring, clock: systemClock, logger: silentLogger, folder: folder.path })
  for (const event of events) log.record(event)
  await log.close()
}
const login = (subject: string, sid = randomSid()): AuditEvent => ({ event: 'login', outcome: 'success', subject, sid })

describe('token-handler audit verify', () => {
  it(
    'does not call right what has no records: a wrong file, or an empty folder',
    async () => {
      mkdirSync(join(folder.path, 'audit'))
      for (const [given, path] of [
        [[], 'audit'],
        [['token-handler.yaml'], 'token-handler.yaml'],
      ] as const) {
        const { code, stdout, stderr } = await audit('verify', ...given)
        expect([code, stderr]).toEqual([1, `token-handler: no audit records found in ${join(folder.path, path)}\n`])
        expect(stdout).toMatch(/^\d files, 0 chains, 0 records, 0 erased\n$/)
      }
      const inJson = await audit('verify', '--json')
      expect([inJson.code, JSON.parse(inJson.stdout)]).toEqual([
        1,
        expect.objectContaining({ records: 0, problems: [] }),
      ])
    },
    patienceMs,
  )

  it(
    'finds no problem where there is none',
    async () => {
      await records([login('alice')])
      expect(await audit('verify')).toEqual({
        code: 0,
        stdout: '1 files, 1 chains, 3 records, 0 erased\nno problem found\n',
        stderr: '',
      })
    },
    patienceMs,
  )
})

describe('token-handler audit', () => {
  it(
    'says that a file has to be named where the log is on standard output, or off',
    async () => {
      for (const [sink, args] of [
        ['stdout', ['verify']],
        ['off', ['erase', '--sub', 'alice']],
      ] as const) {
        folder.configure({ audit: { sink } })
        const { code, stdout, stderr } = await audit(...args)
        expect([code, stdout]).toEqual([2, ''])
        expect(stderr).toContain(`token-handler: audit.sink is ${sink}: name a file that its lines were captured in\n`)
      }
    },
    patienceMs,
  )

  it(
    'finds and erases the subject of another issuer, as after a change of it',
    async () => {
      const before = { authorization_server: { issuer: 'https://old.example' } }
      const sid = randomSid()
      await records([login('alice', sid)], before)
      const [oldest = ''] = readdirSync(join(folder.path, 'audit'))
      // A session of before the change may end after it.
      await records([login('alice'), { event: 'logout', outcome: 'success', sid }])
      const found = async (...args: string[]): Promise<string[]> =>
        parseRecords((await audit('export', '--sub', 'alice', ...args)).stdout)
          .map(({ event }) => event)
          .filter((event) => event !== 'subject_exported')
      const old = ['--issuer', 'https://old.example']
      expect(await found()).toEqual(['login'])
      expect((await found(...old)).toSorted()).toEqual(['login', 'logout'])
      expect(await found('--issuer', 'https://other.example')).toEqual([])

      // The two, and the record that they were exported.
      expect((await audit('erase', '--sub', 'alice', ...old)).stdout).toBe('3 records erased\n')
      expect([await found(...old), await found()]).toEqual([[], ['login']])
      // All chains hold, each under the keys of its time.
      const problemFiles = async (): Promise<Set<string>> => {
        const { problems } = JSON.parse((await audit('verify', '--json')).stdout) as { problems: { file: string }[] }
        return new Set(problems.map(({ file }) => file))
      }
      expect(await problemFiles()).toEqual(new Set([oldest]))
      folder.configure({ audit: { sink: 'files' }, ...before })
      expect([...(await problemFiles())]).not.toContain(oldest)
    },
    patienceMs,
  )

  it(
    '[E-KM-07] verifies with keys that open no cookie',
    async () => {
      await records([login('alice')])
      await folder.run(['keys', 'export', '--purpose', 'audit', '--out', 'auditor.json'])
      folder.configure({ audit: { sink: 'files' }, keys: { file: 'auditor.json' } })
      expect((await folder.run(['keys', 'list'])).stdout).toMatch(/ audit\n$/)
      expect(await audit('verify')).toMatchObject({ code: 0, stdout: expect.stringContaining('no problem found') })
      const alone = await folder.run(['check', '--only', 'proxy'])
      expect(alone).toMatchObject({ code: 2, stderr: expect.stringContaining('lacks access-token') })
    },
    patienceMs,
  )

  it(
    'verifies what was recorded for a former issuer and client beside what was recorded since',
    async () => {
      await records([login('alice')], { authorization_server: { issuer: 'https://old.example', client_id: 'old-spa' } })
      await records([login('alice')])
      const unknown = await audit('verify')
      expect(unknown).toMatchObject({ code: 1, stdout: expect.stringContaining('(--issuer, --client)') })
      const former = ['--issuer', 'https://old.example', '--client', 'old-spa']
      expect(await audit('verify', ...former)).toEqual({
        code: 0,
        stdout: '2 files, 2 chains, 6 records, 0 erased\nno problem found\n',
        stderr: '',
      })
      expect(parseRecords((await audit('export', '--sub', 'alice', ...former)).stdout)).toHaveLength(1)
      expect((await audit('verify', ...former)).code).toBe(0)
    },
    patienceMs,
  )
})
