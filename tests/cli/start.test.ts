import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { Canaries } from '../support/canary.ts'
import { freePort } from '../support/free-port.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

let folder: WorkingFolder
beforeEach(() => {
  folder = workingFolder()
})
afterEach(() => folder.remove())

function local(port: number, changes: Record<string, unknown> = {}): Record<string, unknown> {
  const origin = `http://localhost:${port}`
  return {
    public_url: origin,
    listen: { port },
    authorization_server: {
      issuer: 'http://127.0.0.1:9',
      redirect_uri: `${origin}/callback`,
      client_authentication: { client_secret: 'file:secret.txt' },
    },
    ledger: { type: 'memory' },
    ...changes,
  }
}

/** Polls until the answer is there. */
async function answerOf(url: string): Promise<Response> {
  const deadline = Date.now() + 15_000
  for (;;) {
    try {
      return await fetch(url, { headers: { 'token-handler-version': '1' } })
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => void setTimeout(resolve, 50))
    }
  }
}

describe('token-handler start', () => {
  it('runs while the authorization server is down, and stops on SIGTERM without a secret in its log', async () => {
    const canaries = new Canaries()
    const [port, adminPort] = [await freePort(), await freePort()]
    folder.write('secret.txt', canaries.mark('client-secret'))
    chmodSync(join(folder.path, 'secret.txt'), 0o644)
    chmodSync(folder.path, 0o755)
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    canaries.watch('key', (JSON.parse(folder.read('keys.json')) as { keys: [{ key: string }] }).keys[0].key)
    folder.configure(local(port, { admin: { port: adminPort }, log: { level: 'debug' } }))

    const running = folder.start(['start'])
    expect((await answerOf(`http://127.0.0.1:${adminPort}/livez`)).status).toBe(200)
    const ready = await fetch(`http://127.0.0.1:${adminPort}/readyz`)
    expect(ready.status).toBe(503)
    const session = await answerOf(`http://127.0.0.1:${port}/oauth-agent/session`)
    expect([session.status, await session.json()]).toEqual([200, { is_logged_in: false }])
    running.process.kill('SIGTERM')
    const { code, stdout, stderr } = await running.ended

    expect([code, stderr]).toEqual([0, ''])
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { event: string }).event)
    expect(events).toEqual(
      expect.arrayContaining(['config_warning', 'started', 'discovery_failed', 'request', 'stopping']),
    )
    expect(canaries.find(stdout)).toEqual([])
  })

  it('[D-LIM-01] serves while others take the connections that few open files allow, and says how few', async () => {
    const port = await freePort()
    folder.write('secret.txt', 'a client secret')
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure(local(port))
    const running = folder.start(['start'], {}, 600)
    await answerOf(`http://127.0.0.1:${port}/oauth-agent/session`)
    const sockets = Array.from({ length: 700 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const session = await fetch(`http://127.0.0.1:${port}/oauth-agent/session`, {
      headers: { 'token-handler-version': '1' },
    })
    expect(await session.json()).toEqual({ is_logged_in: false })
    for (const socket of sockets) socket.destroy()
    running.process.kill('SIGTERM')
    const { stdout } = await running.ended
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as Record<string, unknown>)).toContainEqual(
      expect.objectContaining({ event: 'few_open_files', wanted: 20_000, connections: 172 }),
    )
  })

  it.each([
    ['that are not there', undefined, 'keys.json has 1 problem:\n  (file): cannot be read (ENOENT)'],
    ['that are no JSON', 's3cret', '(file): is not JSON; make one with `token-handler keys generate`'],
    [
      'that are too short',
      '{"keys":[{"kid":"a","state":"active","key":"c2hvcnQ"}]}',
      'keys[0].key: must be 32 random bytes',
    ],
    [
      'of which none is active',
      '{"keys":[{"kid":"a","state":"open-only","key":"AAAA"}]}',
      'keys[0].key: must be 32 random bytes',
    ],
  ])('[E-KM-04] [D-OPS-02] [F-CU-3] refuses keys %s, before it listens', async (_, keys, message) => {
    const port = await freePort()
    folder.write('secret.txt', 'a client secret')
    if (keys !== undefined) folder.write('keys.json', keys)
    folder.configure(local(port))
    const { code, stdout, stderr } = await folder.run(['start'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('s3cret')
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed')
  })

  it('[D-OPS-02] [F-AJ-3] refuses a wrong configuration as check does', async () => {
    folder.configure({ admin: { port: 3000 }, colour: 'red' })
    const [checked, started] = [await folder.run(['check']), await folder.run(['start'])]
    expect(started).toEqual(checked)
    expect(started.code).toBe(2)
    expect(started.stderr).toContain('unknown key colour')
    expect(started.stderr).toContain('admin.port: must differ from listen.port')
  })

  it.each(['listen', 'admin'])('says in one line that a port is taken, and ends: %s', async (key) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    folder.write('secret.txt', 'a client secret')
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure(local(await freePort(), { [key]: { port }, log: { level: 'silent' } }))
    const { code, stderr } = await folder.run(['start'])
    other.close()
    expect(code).toBe(1)
    expect(stderr).toBe(`token-handler: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`)
  })
})
