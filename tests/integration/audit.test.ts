import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parseRecords } from '../shared/audit-kit.ts'
import { Canaries, findJwts } from '../support/canary.ts'
import { until } from '../support/until.ts'
import { callAt, install, logInAt, succeed, type Installation } from './installation.ts'

/** Commands are slow to start on a busy machine. */
const patienceMs = 180_000

describe('the audit log of the running command', () => {
  let installation: Installation
  let secrets: Canaries
  beforeAll(async () => {
    secrets = new Canaries()
    installation = await install()
    installation.configure('token-handler.yaml', { audit: { sink: 'files', requests: true } })
  }, patienceMs)
  afterAll(() => installation.close())

  const written = (): string => {
    const folder = join(installation.folder.path, 'audit')
    return readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('')
  }
  const audit = (...args: string[]) => installation.folder.run(['audit', ...args])

  it(
    'holds what was issued and refused, and the end, and no secret',
    async () => {
      const running = await installation.start()
      const jar = await logInAt(running.url)
      for (const { name, value } of jar.snapshot()) secrets.watch(name, value)
      expect((await callAt(running.url, '/api/me?secret=in-the-query', jar)).status).toBe(200)
      expect((await callAt(running.url, '/oauth-agent/refresh', jar, 'POST')).status).toBe(200)
      for (const { name, value } of jar.snapshot()) secrets.watch(`${name} later`, value)
      for (const { headers } of installation.api.received) {
        secrets.watch('access token', headers.authorization?.slice(7) ?? '')
      }
      await callAt(running.url, '/oauth-agent/logout', jar, 'POST')
      running.kill('SIGHUP')
      await until('the keys are read again', () => running.log().includes('keys_reloaded'))
      running.kill('SIGTERM')
      await running.ended

      for (const { parameters } of installation.authorizationServer.requests) {
        for (const name of ['code', 'code_verifier', 'refresh_token', 'client_secret', 'state', 'nonce']) {
          const value: unknown = (parameters as Record<string, unknown>)[name]
          if (typeof value === 'string') secrets.watch(name, value)
        }
      }
      secrets.watch('query', 'in-the-query')
      const text = written()
      const events = parseRecords(text).map(({ event, outcome }) => `${event} ${outcome}`)
      expect(events).toEqual([
        'log_opened success',
        'started success',
        'login success',
        'request success',
        'refresh success',
        'logout success',
        'keys_changed success',
        'stopped success',
        'log_closed success',
      ])
      expect([secrets.find(text), findJwts(text)]).toEqual([[], []])
      expect(running.log()).not.toContain('"type":"audit"')
    },
    patienceMs,
  )

  it(
    'is verified, exported and erased by the command',
    async () => {
      const { stdout } = await succeed(audit('verify', '--stopped'))
      expect(stdout).toBe('1 files, 1 chains, 9 records, 0 erased\nno problem found\n')
      const exported = await succeed(audit('export', '--sub', 'demo'))
      expect(parseRecords(exported.stdout).map(({ event }) => event)).toEqual(['login', 'request', 'refresh', 'logout'])
      expect((await succeed(audit('erase', '--sub', 'demo'))).stdout).toBe('5 records erased\n')
      expect((await succeed(audit('export', '--sub', 'demo'))).stdout).toBe('')
      expect((await succeed(audit('verify', '--stopped', '--json'))).stdout).toContain('"problems":[]')
      const own = parseRecords(written()).filter(({ actor }) => actor === 'command-line')
      expect(own.map(({ event, details }) => [event, details?.count])).toEqual(
        expect.arrayContaining([
          ['subject_exported', 4],
          ['subject_erased', 5],
        ]),
      )
    },
    patienceMs,
  )

  it(
    'that was changed is not verified, and the command says where',
    async () => {
      const [name = ''] = readdirSync(join(installation.folder.path, 'audit'))
      const path = join('audit', name)
      installation.folder.write(
        path,
        installation.folder.read(path).replace('"outcome":"success"', '"outcome":"refused"'),
      )
      const { code, stdout } = await audit('verify')
      expect(code).toBe(1)
      expect(stdout).toContain(`${name}:1: was changed, or does not follow the record before`)
      expect((await audit('erase')).stderr).toContain('need --sub SUB')
    },
    patienceMs,
  )
})
