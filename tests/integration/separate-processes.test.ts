import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { CookieJar } from '../support/cookie-jar.ts'
import { until } from '../support/until.ts'
import { callAt, install, logInAt, succeed, type Installation, type RunningCommand } from './installation.ts'

let site: Installation
let agent: RunningCommand
let proxy: RunningCommand

beforeAll(async () => {
  site = await install()
  site.configure('token-handler.yaml')
  site.configure('proxy.yaml', { keys: { file: 'proxy-keys.json' } })
  await succeed(site.folder.run(['keys', 'export', '--purpose', 'access-token', '--out', 'proxy-keys.json']))
  ;[agent, proxy] = await Promise.all([
    site.start(['--only', 'agent']),
    site.start(['--only', 'proxy', '--config', 'proxy.yaml']),
  ])
}, 30_000)

afterAll(async () => {
  await site.close()
})

function copyOf(jar: CookieJar): CookieJar {
  const copy = new CookieJar()
  copy.restore(jar.snapshot())
  return copy
}

describe('agent and proxy as processes of their own, the proxy with exported keys', () => {
  it('share a session: the proxy opens what the agent sealed, before and after a refresh', async () => {
    const jar = await logInAt(agent.url)
    for (let count = 0; count < 2; count++) {
      expect(await callAt(proxy.url, '/api/me', jar)).toMatchObject({ status: 200, json: { sub: 'demo' } })
      const { accessToken } = site.authorizationServer.issued.at(-1) ?? {}
      expect(site.api.received.at(-1)?.headers.authorization).toBe(`Bearer ${accessToken}`)
      expect((await callAt(agent.url, '/oauth-agent/refresh', jar, 'POST')).status).toBe(200)
    }
  })

  it('keep apart what is not theirs', async () => {
    const jar = await logInAt(agent.url)
    expect((await callAt(agent.url, '/api/me', jar)).status).toBe(404)
    expect((await callAt(proxy.url, '/oauth-agent/session', jar)).status).toBe(404)
    const keys = await succeed(site.folder.run(['keys', 'list', '--file', 'proxy-keys.json']))
    expect(keys.stdout).toMatch(/ active .* access-token, audit\n$/)
    expect(site.folder.read('proxy-keys.json')).not.toContain(
      (JSON.parse(site.folder.read('keys.json')) as { keys: [{ key: string }] }).keys[0].key,
    )
  })

  it('end a session together: after a logout at the agent the proxy refuses copies of its cookies', async () => {
    const jar = await logInAt(agent.url)
    const copy = copyOf(jar)
    expect((await callAt(proxy.url, '/api/me', copy)).status).toBe(200)
    expect((await callAt(agent.url, '/oauth-agent/logout', jar, 'POST')).status).toBe(200)
    const loggedOutAt = performance.now()
    await until('the refusal', async () => (await callAt(proxy.url, '/api/me', copy)).code === 'session_ended')
    expect(performance.now() - loggedOutAt).toBeLessThan(3_000)
  })

  it('keep sessions over a crash of either: cookies and ledger are all that a session needs', async () => {
    const jar = await logInAt(agent.url)
    const ended = copyOf(await logInAt(agent.url))
    const gone = copyOf(ended)
    expect((await callAt(agent.url, '/oauth-agent/logout', ended, 'POST')).status).toBe(200)
    for (const process of [agent, proxy]) {
      process.kill('SIGKILL')
      expect((await process.ended).code).toBeNull()
    }
    ;[agent, proxy] = await Promise.all([
      site.start(['--only', 'agent']),
      site.start(['--only', 'proxy', '--config', 'proxy.yaml']),
    ])
    expect((await callAt(proxy.url, '/api/me', jar)).status).toBe(200)
    expect((await callAt(agent.url, '/oauth-agent/session', jar)).json['is_logged_in']).toBe(true)
    expect((await callAt(agent.url, '/oauth-agent/refresh', jar, 'POST')).status).toBe(200)
    expect(await callAt(proxy.url, '/api/me', gone)).toMatchObject({ status: 401, code: 'session_ended' })
  }, 30_000)
})
