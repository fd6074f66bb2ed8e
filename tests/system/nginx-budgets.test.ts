import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { silentLogger, type ConfigInput } from '@token-handler/shared'
import { startDemo, type Demo } from '../../spa-example/demo.ts'
import { configurationWith, startNginx, type RunningNginx } from '../support/nginx.ts'
import { freePort } from '../support/free-port.ts'
import { SessionBrowser, type BrowserAnswer } from '../support/session-browser.ts'

/**
 * An answer's header that is too large for a reverse proxy is a 502 of that proxy, in HTML and without a word about the
 * reason; so our budgets must bite first. The token grows with its audience; the origin is long and https, which makes
 * our other headers as large as they get.
 */
const publicOrigin = 'https://application.some-department.of-a-large-organisation.example.localhost'
const recipe = readFileSync(join(import.meta.dirname, '../../deploy/nginx/token-handler.conf'), 'utf8')
const recipeMap = readFileSync(join(import.meta.dirname, '../../deploy/nginx/connection.conf'), 'utf8')

let biggest: number
const opened: { close(): Promise<void> }[] = []

beforeAll(async () => {
  biggest = await findBiggest({})
}, 60_000)
afterEach(closeAll)
afterAll(closeAll)

describe('behind a default nginx', () => {
  it('the biggest session that the default budget allows logs in, calls the API, refreshes and logs out', async () => {
    const { browser } = await startBehind('default', biggest)
    const login = await browser.logIn()
    expect([login.status, login.json()['is_logged_in']]).toEqual([200, true])
    expect(browser.jar.refused).toEqual([])
    expect((await browser.call('GET', '/api/orders')).json()).toEqual({ orders: [] })
    const refreshed = await browser.call('POST', '/oauth-agent/refresh')
    expect([refreshed.status, refreshed.json()['access_token_expires_in']]).toEqual([200, 300])
    const order = await browser.call('POST', '/api/orders', JSON.stringify({ item: 'Tea', quantity: 1 }))
    expect(order.status).toBe(201)
    expect((await browser.call('POST', '/oauth-agent/logout')).status).toBe(200)
    expect((await browser.call('GET', '/oauth-agent/session')).json()).toEqual({ is_logged_in: false })
  })

  it('one that is a byte bigger is refused by us, with a code, and leaves no cookie', async () => {
    const { browser, nginx } = await startBehind('default', biggest + 1)
    const login = await browser.logIn()
    expect(login.status).toBe(502)
    expect(login.headers.get('content-type')).toBe('application/json')
    expect(login.json()['error_code']).toBe('token_too_large')
    expect(browser.jar.names()).toEqual([])
    expect(nginx.log()).toBe('')
  })

  it('control: with the budget raised and nginx as it is, the login fails in nginx', async () => {
    const { browser, nginx } = await startBehind('default', biggest + 900, { response_budget: 8000 })
    const login = await browser.logIn()
    expect([login.status, login.headers.get('content-type')]).toEqual([502, 'text/html'])
    expect(nginx.log()).toContain('upstream sent too big header')
  })

  it('the biggest Cookie header that the default budget allows passes; the biggest that exists would not', async () => {
    const raised = { response_budget: 30_000 }
    const most = await findBiggest(raised)
    const { browser } = await startBehind('recipe', most, raised)
    expect((await browser.logIn()).status).toBe(200)
    expect((await browser.call('GET', '/api/orders')).json()).toEqual({ orders: [] })

    const more = await startBehind('recipe', most + 1500, { ...raised, header_budget: 30_000 })
    expect((await more.browser.logIn()).status).toBe(200)
    const refused = await more.browser.call('GET', '/api/orders')
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('Request Header Or Cookie Too Large')])
  }, 60_000)
})

describe('behind nginx with our recipe', () => {
  it('a session over the default budget logs in, calls the API, refreshes and logs out', async () => {
    const { browser } = await startBehind('recipe', biggest + 900, { response_budget: 8000 })
    expect((await browser.logIn()).json()['is_logged_in']).toBe(true)
    expect((await browser.call('GET', '/api/me')).json()['sub']).toBe('demo')
    expect((await browser.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await browser.call('GET', '/api/me')).json()['sub']).toBe('demo')
    expect((await browser.call('POST', '/oauth-agent/logout')).status).toBe(200)
  })
})

type Cookies = NonNullable<ConfigInput['cookies']>

function demoWith(audienceLength: number, cookies: Cookies): Promise<Demo> {
  return startDemo({
    ports: { web: 0, authorizationServer: 0, api: 0, admin: 0 },
    spa: { handler: async () => (_req, res) => res.end() },
    logger: silentLogger,
    publicOrigin,
    apiAudience: `https://api.example.com/${'a'.repeat(audienceLength)}`,
    configure: (config) => ({ ...config, cookies }),
  })
}

function browserAt(port: number): SessionBrowser {
  return new SessionBrowser(publicOrigin, { backend: `http://localhost:${port}` })
}

async function startBehind(
  kind: 'default' | 'recipe',
  audienceLength: number,
  cookies: Cookies = {},
): Promise<{ browser: SessionBrowser; nginx: RunningNginx }> {
  const demo = await demoWith(audienceLength, cookies)
  opened.push(demo)
  const upstream = `http://127.0.0.1:${portOf(demo)}`
  const port = await freePort()
  const nginx = await startNginx(
    kind === 'default'
      ? configurationWith({ port, server: `location / { proxy_pass ${upstream}; }` })
      : configurationWith({ port, http: recipeMap, server: recipe.replaceAll('http://127.0.0.1:3000', upstream) }),
    { port },
  )
  opened.push(nginx)
  return { browser: browserAt(port), nginx }
}

/** The longest audience with which a login succeeds straight at the agent. */
async function findBiggest(cookies: Cookies): Promise<number> {
  let fits = 1
  let tooBig = 4000
  while (tooBig - fits > 1) {
    const middle = Math.floor((fits + tooBig) / 2)
    if (await isAllowed(middle, cookies)) fits = middle
    else tooBig = middle
  }
  return fits
}

async function isAllowed(audienceLength: number, cookies: Cookies): Promise<boolean> {
  const demo = await demoWith(audienceLength, cookies)
  try {
    const login: BrowserAnswer = await browserAt(portOf(demo)).logIn()
    if (login.status !== 200) expect(login.json()['error_code']).toBe('token_too_large')
    return login.status === 200
  } finally {
    await demo.close()
  }
}

function portOf(demo: Demo): number {
  return (demo.tokenHandler.server.address() as AddressInfo).port
}

async function closeAll(): Promise<void> {
  for (const part of opened.splice(0).toReversed()) await part.close()
}
