import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { until } from '../support/until.ts'
import { callAt, install, logInAt, succeed, type Installation } from './installation.ts'

/** Commands are slow to start on a busy machine. */
const patienceMs = 180_000

/** Lets a running process write no file any more, as a disk does that is full. @returns what gives it room again. */
function fillDiskOf(pid: number): () => void {
  const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`])
  const [, before = ''] = /^Max file size +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? []
  limit('1')
  return () => limit(before)
}

describe('an audit log that must not lose anything, on a disk that is full', () => {
  let installation: Installation
  beforeAll(async () => {
    installation = await install()
    installation.configure('token-handler.yaml', {
      // Nothing else that writes files.
      ledger: { type: 'memory' },
      admin: { port: 0 },
      audit: { sink: 'files', requests: true, on_lost_sink: 'block' },
    })
  }, patienceMs)
  afterAll(() => installation.close())

  it(
    'refuses everything but a logout until there is room again, and has a whole chain then',
    async () => {
      const running = await installation.start()
      const [staying, leaving] = [await logInAt(running.url), await logInAt(running.url)]
      const callsOf = async (path: string, method = 'GET') => {
        const { status, code } = await callAt(running.url, path, staying, method)
        return [path, status, code]
      }
      const readyz = async () => {
        const answer = await fetch(`${running.adminUrl}/readyz`)
        return [answer.status, ((await answer.json()) as { audit: string }).audit]
      }
      expect(await callsOf('/api/me')).toEqual(['/api/me', 200, undefined])
      expect(await readyz()).toEqual([200, 'available'])

      const makeRoom = fillDiskOf(running.pid)
      // One that goes through is recorded afterwards, and finds the disk full.
      await until('it blocks', async () => (await callsOf('/api/me'))[1] === 503)
      expect(await readyz()).toEqual([503, 'unavailable'])
      const received = installation.api.received.length
      const tokenRequests = installation.authorizationServer.requests.length
      for (const [path, method] of [
        ['/api/me', 'GET'],
        ['/oauth-agent/refresh', 'POST'],
        ['/oauth-agent/session', 'GET'],
        ['/oauth-agent/login/start', 'POST'],
      ] as const) {
        expect(await callsOf(path, method)).toEqual([path, 503, 'audit_unavailable'])
      }
      expect([installation.api.received.length, installation.authorizationServer.requests.length]).toEqual([
        received,
        tokenRequests,
      ])
      expect((await callAt(running.url, '/oauth-agent/logout', leaving, 'POST')).status).toBe(200)
      expect(running.log()).toContain('"event":"audit_failing"')

      makeRoom()
      await until('it goes on', async () => (await callsOf('/api/me'))[1] === 200)
      expect(await readyz()).toEqual([200, 'available'])
      running.kill('SIGTERM')
      await running.ended
      const { stdout } = await succeed(installation.folder.run(['audit', 'verify', '--stopped']))
      expect(stdout).toMatch(/^1 files, 1 chains, .*\nno problem found\n$/)
      const exported = await succeed(installation.folder.run(['audit', 'export', '--sub', 'demo']))
      expect(exported.stdout).toContain('"event":"logout"')
    },
    patienceMs,
  )
})
