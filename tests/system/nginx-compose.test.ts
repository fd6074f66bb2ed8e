import { readFileSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { keyFileSchema } from '@token-handler/shared'
import { logIn, logOut, callApi } from '../browser/support.ts'
import { launchBrowser } from '../support/browser.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { exchange, rawRequest } from '../support/raw-client.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { until } from '../support/until.ts'
import { startComposition, type Composition } from './composition.ts'

let composition: Composition

beforeAll(async () => {
  composition = await startComposition()
}, 120_000)
afterAll(async () => {
  await composition?.close()
}, 30_000)

describe('the services of docker-compose.yml behind their nginx, without containers', () => {
  it('are healthy by their own checks', async () => {
    for (const name of ['agent', 'proxy', 'spa', 'api', 'authorization-server', 'ledger']) {
      expect([name, await composition.checkHealth(name)]).toEqual([name, 0])
    }
  })

  it('log in, read and write, refresh, log out', async () => {
    const browser = new SessionBrowser(composition.url)
    expect((await browser.logIn()).json()).toMatchObject({ is_logged_in: true, id_token_claims: { name: 'Demo User' } })
    expect(browser.jar.refused).toEqual([])
    expect((await browser.call('GET', '/api/me')).json()).toMatchObject({ sub: 'demo' })
    const order = await browser.call('POST', '/api/orders', JSON.stringify({ item: 'Tea', quantity: 1 }))
    expect(order.status).toBe(201)
    expect((await browser.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await browser.call('GET', '/api/orders')).json()).toMatchObject({ orders: [{ item: 'Tea' }] })
    expect((await browser.call('POST', '/oauth-agent/logout')).status).toBe(200)
    expect((await browser.call('GET', '/oauth-agent/session')).json()).toEqual({ is_logged_in: false })
  })

  it('log in and out in a browser, with the SPA of its own container', async () => {
    const chromium = await launchBrowser()
    try {
      const page = await chromium.newPage()
      await page.goto(composition.url)
      await logIn(page)
      await callApi(page)
      expect(await page.getByTestId('me').textContent()).toContain('demo')
      await logOut(page)
      expect(await page.context().cookies(composition.url)).toEqual([])
    } finally {
      await chromium.close()
    }
  })

  it('tell the proxy of a logout at the agent, through the ledger: a copied cookie is over', async () => {
    const browser = new SessionBrowser(composition.url)
    await browser.logIn()
    const copied = new CookieJar()
    copied.restore(browser.jar.snapshot())
    const thief = new SessionBrowser(composition.url, { jar: copied })
    expect((await thief.call('GET', '/api/me')).status).toBe(200)
    await browser.call('POST', '/oauth-agent/logout')
    await until('the proxy refuses the copy', async () => {
      const { status, json } = await thief.call('GET', '/api/me')
      return status === 401 && json()['code'] === 'session_ended'
    })
  })

  it('make secrets that only their owner reads, and give the proxy no keys but those of access cookies and of its audit log', () => {
    for (const file of ['client/secret', 'agent/keys.json', 'proxy/keys.json']) {
      expect([file, (statSync(join(composition.secrets, file)).mode & 0o777).toString(8)]).toEqual([file, '600'])
    }
    const keysOf = (name: string) =>
      keyFileSchema.parse(JSON.parse(readFileSync(join(composition.secrets, name, 'keys.json'), 'utf8'))).keys
    expect(keysOf('agent').map(({ key }) => typeof key)).toEqual(['string'])
    expect(keysOf('proxy').map(({ key, derived }) => [key, Object.keys(derived ?? {})])).toEqual([
      [undefined, ['access-token', 'audit']],
    ])
  })

  it('take down their clients by the addresses that they come from, not by those that they claim', async () => {
    const { host, port } = new URL(composition.url)
    for (const [service, path] of [
      ['agent', '/oauth-agent/session'],
      ['proxy', '/api/me'],
    ] as const) {
      const headers = [`Host: ${host}`, 'Origin: https://evil.test', 'X-Forwarded-For: 192.0.2.66']
      const answer = await exchange(Number(port), rawRequest(`GET ${path}`, headers), { from: '127.5.6.7' })
      expect([service, answer.status]).toEqual([service, 403])
      await until(`${service} takes it down`, () => composition.output(service).includes('"127.5.6.0/24"'))
      expect(composition.output(service)).not.toContain('192.0.2.')
    }
  })

  it('answer nobody who asks for another host, and log no query', async () => {
    const status = await new Promise((resolve, reject) => {
      request(composition.url, { headers: { host: 'evil.test' } }, (answer) => resolve(answer.resume().statusCode))
        .on('error', reject)
        .end()
    })
    expect(status).toBe(421)
    const everything = ['agent', 'proxy', 'spa', 'api', 'authorization-server', 'gateway']
      .map(composition.output)
      .join('')
    expect(everything).toContain('/callback')
    expect(everything).not.toMatch(/code=|state=/)
  })

  it('end in order when they are told to, and are healthy no more', async () => {
    expect(await composition.close()).toEqual({
      ledger: 0,
      'authorization-server': 0,
      api: 0,
      agent: 0,
      proxy: 0,
      spa: 0,
    })
    expect(await composition.checkHealth('agent')).toBe(1)
  }, 30_000)
})
