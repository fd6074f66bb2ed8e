import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { keyFileSchema } from '@token-handler/shared'
import type { CookieJar } from '../support/cookie-jar.ts'
import { until } from '../support/until.ts'
import { callAt, install, logInAt, succeed, type Installation, type RunningCommand } from './installation.ts'

let site: Installation
let agents: RunningCommand[]
let proxy: RunningCommand

beforeAll(async () => {
  site = await install()
  for (const name of ['agent-a', 'agent-b', 'proxy']) site.configure(`${name}.yaml`, { keys: { file: `${name}.json` } })
  copy('keys.json', 'agent-a.json')
  copy('keys.json', 'agent-b.json')
  await keys('export', '--purpose', 'access-token', '--config', 'agent-a.yaml', '--out', 'proxy.json')
  ;[proxy, ...agents] = await Promise.all([
    site.start(['--only', 'proxy', '--config', 'proxy.yaml']),
    site.start(['--only', 'agent', '--config', 'agent-a.yaml']),
    site.start(['--only', 'agent', '--config', 'agent-b.yaml']),
  ])
}, 90_000)

afterAll(() => site.close())

const copy = (from: string, to: string): void => copyFileSync(join(site.folder.path, from), join(site.folder.path, to))
const keys = async (...args: string[]): Promise<string> => (await succeed(site.folder.run(['keys', ...args]))).stdout
const keysOf = (file: string): { kid: string; state: string }[] =>
  keyFileSchema.parse(JSON.parse(site.folder.read(file))).keys

async function reload(command: RunningCommand): Promise<void> {
  const count = (): number => command.log().split('"event":"keys_reloaded"').length
  const before = count()
  command.kill('SIGHUP')
  await until('the keys are read', () => count() > before)
}

/** A user who calls and refreshes, at one agent and then the other, until it is told to stop. */
function use(jar: CookieJar): { readonly calls: () => number; stop(): Promise<number[]> } {
  const bad: number[] = []
  const state = { isStopped: false }
  let calls = 0
  const running = (async () => {
    for (let turn = 0; !state.isStopped; turn++) {
      const agent = agents[turn % agents.length]!
      const answers = [
        await callAt(proxy.url, '/api/me', jar),
        await callAt(agent.url, '/oauth-agent/refresh', jar, 'POST'),
        await callAt(agent.url, '/oauth-agent/session', jar),
      ]
      bad.push(...answers.map(({ status }) => status).filter((status) => status !== 200))
      if (answers[2]?.json['is_logged_in'] !== true) bad.push(0)
      calls += 1
    }
  })()
  return {
    calls: () => calls,
    async stop() {
      state.isStopped = true
      await running
      return bad
    },
  }
}

describe('keys of a fleet', () => {
  it('[E-KM-01][E-KM-02][F-CU-3] are replaced under load without a single logout, in whatever order the files arrive', async () => {
    const jars = await Promise.all([0, 1].map((turn) => logInAt(agents[turn % 2]!.url)))
    const quiet = await logInAt(agents[0]!.url)
    const users = jars.map(use)
    const everybodyWentOn = async (): Promise<void> => {
      const before = users.map(({ calls }) => calls())
      await until('everybody goes on', () => users.every(({ calls }, at) => calls() > (before[at] ?? 0) + 1))
    }
    await everybodyWentOn()

    await keys('add', '--config', 'agent-a.yaml')
    const [old, fresh] = keysOf('agent-a.json')
    if (old === undefined || fresh === undefined) throw new Error('two keys')
    await keys('export', '--purpose', 'access-token', '--config', 'agent-a.yaml', '--out', 'export.json')
    await reload(agents[0]!)
    const early = await site.folder.run(['keys', 'activate', fresh.kid, '--config', 'agent-a.yaml'])
    expect([early.code, keysOf('agent-a.json')[1]?.state]).toEqual([1, 'pending'])
    await keys('add', '--config', 'agent-b.yaml', '--from', 'agent-a.json')
    await keys('add', '--config', 'proxy.yaml', '--from', 'export.json')
    await reload(proxy)
    await reload(agents[1]!)
    await everybodyWentOn()

    await until(
      'every process reports the key',
      async () => (await site.folder.run(['keys', 'activate', fresh.kid, '--config', 'agent-a.yaml'])).code === 0,
      { timeoutMs: 40_000 },
    )
    await reload(agents[0]!)
    // The other agent still seals with the old key.
    await everybodyWentOn()
    await keys('activate', fresh.kid, '--config', 'proxy.yaml')
    copy('agent-a.json', 'agent-b.json')
    await reload(agents[1]!)
    await everybodyWentOn()

    // Who did not come since is sealed by the old key, and counted.
    const refused = await site.folder.run(['keys', 'retire', old.kid, '--config', 'agent-a.yaml'])
    expect([refused.code, refused.stdout]).toEqual([1, expect.stringContaining(`${old.kid} sealed: 1.`)])
    expect((await callAt(agents[1]!.url, '/oauth-agent/refresh', quiet, 'POST')).status).toBe(200)
    for (const name of ['proxy', 'agent-b', 'agent-a']) {
      expect(await keys('retire', old.kid, '--force', '--config', `${name}.yaml`)).toContain(`${old.kid} sealed: 0.`)
    }
    for (const command of [proxy, ...agents]) await reload(command)
    await everybodyWentOn()

    expect(await Promise.all(users.map((user) => user.stop()))).toEqual(jars.map(() => []))
    expect((await callAt(proxy.url, '/api/me', quiet)).status).toBe(200)
  }, 300_000)
})
