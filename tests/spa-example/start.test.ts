import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { logIn, logOut } from '../browser/support.ts'
import { launchBrowser } from '../support/browser.ts'
import { trustSwitch } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'

const root = join(import.meta.dirname, '../..')
const variables = ['TH_PORT', 'TH_AS_PORT', 'TH_API_PORT', 'TH_ADMIN_PORT', 'TH_GATEWAY_PORT', 'TH_STORAGE_PORT']
const anyPorts = Object.fromEntries(variables.map((name) => [name, '0']))
const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

interface Started {
  readonly child: ChildProcess
  readonly output: () => string
  /** Stands for the system's folder for temporary files. */
  readonly temporary: string
}

function start(args: readonly string[], env: Record<string, string> = {}): Started {
  const temporary = mkdtempSync(join(tmpdir(), 'token-handler-start-'))
  const child = spawn(process.execPath, ['--conditions=token-handler-source', 'spa-example/start.ts', ...args], {
    cwd: root,
    env: { PATH: process.env['PATH'], TMPDIR: temporary, ...anyPorts, ...env },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  opened.push({
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      rmSync(temporary, { recursive: true, force: true })
    },
  })
  return { child, output: () => output, temporary }
}

async function untilReady({ child, output }: Started): Promise<void> {
  await until(
    'the demo is ready',
    () => {
      if (child.exitCode !== null) throw new Error(`the demo ended: ${output()}`)
      return output().includes('Ctrl-C stops everything')
    },
    { timeoutMs: 60_000 },
  )
}

const match = (text: string, pattern: RegExp): string => pattern.exec(text)?.[1] ?? ''

describe('npm start -- --https', () => {
  it('shows SPA and agent on two origins, and how to trust their certificate, which a browser then does', async () => {
    const started = start(['--https'])
    await untilReady(started)
    const url = match(started.output(), /(https:\/\/www\.example\.localhost:\d+)/)
    expect(started.output()).toMatch(/https:\/\/api\.example\.localhost:\d+/)
    const authority = match(started.output(), /^ +(\/\S+authority\.pem)$/m)
    const folder = join(authority, '..')
    expect(folder.startsWith(started.temporary)).toBe(true)
    expect((statSync(folder).mode & 0o777).toString(8)).toBe('700')
    expect((statSync(join(folder, 'server.key')).mode & 0o777).toString(8)).toBe('600')

    const stranger = await launchBrowser()
    opened.push(stranger)
    await expect((await stranger.newPage()).goto(url)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID')
    const browser = await launchBrowser({ args: [trustSwitch([readFileSync(authority, 'utf8')])] })
    opened.push(browser)
    const page: Page = await browser.newPage()
    await page.goto(url)
    await logIn(page)
    await logOut(page)
  }, 120_000)

  it('is not for development', async () => {
    const { child, output } = start(['--https', '--dev'])
    await once(child, 'close')
    expect([child.exitCode, output()]).toEqual([1, '--https shows the built SPA; start without --dev\n'])
  })

  it('names every port that is taken, before anything starts', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    opened.push({ close: () => taken.close() })
    const { port } = taken.address() as { port: number }
    const { child, output } = start(['--https'], { TH_GATEWAY_PORT: String(port), TH_PORT: String(port) })
    await once(child, 'close')
    expect([child.exitCode, output()]).toEqual([
      1,
      `port ${port} on 127.0.0.1 is taken; choose another with TH_PORT=PORT\n` +
        `port ${port} on 127.0.0.1 is taken; choose another with TH_GATEWAY_PORT=PORT\n`,
    ])
  })
})

describe('npm start', () => {
  it('takes no option that it does not know, and names what there is', async () => {
    const { child, output } = start(['--htps'])
    await once(child, 'close')
    expect(child.exitCode).toBe(1)
    expect(output()).toMatch(/^there is no option --htps; npm start -- --https .*\n.* TH_PORT TH_AS_PORT .*\n$/)
  })

  it('takes no port for two of its parts', async () => {
    const port = await freePort()
    const { child, output } = start([], { TH_PORT: String(port), TH_API_PORT: String(port) })
    await once(child, 'close')
    expect([child.exitCode, output()]).toEqual([
      1,
      `port ${port} is that of TH_PORT; choose another with TH_API_PORT=PORT\n`,
    ])
  })
})
