import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { launchBrowser } from '../support/browser.ts'
import { json } from './scripted-agent.ts'
import { startScriptedServer, type ScriptedServer } from './scripted-server.ts'
import { viteBuild } from './vite-build.ts'

const WEB = join(import.meta.dirname, '../../spa-example/web')

let dist: string
let browser: Browser
let context: BrowserContext
let server: ScriptedServer

beforeAll(async () => {
  dist = await mkdtemp(join(tmpdir(), 'example-spa-'))
  await viteBuild({ configFile: join(WEB, 'vite.config.ts'), build: { outDir: dist } })
  browser = await launchBrowser()
})

beforeEach(async () => {
  server = await startScriptedServer({ spaRoot: dist })
  server.script('GET /api/me', () => json(200, { sub: 'demo', scope: 'openid' }))
  context = await browser.newContext()
})

afterEach(async () => {
  await context.close()
  await server.close()
})

afterAll(async () => {
  await browser.close()
  await rm(dist, { recursive: true })
})

async function logIn(path = '/'): Promise<Page> {
  const page = await context.newPage()
  await page.goto(server.origin + path)
  await page.getByTestId('login').click()
  await page.getByTestId('logout').waitFor()
  return page
}

describe('the built example SPA', () => {
  it('has nothing inline, and a callback page that runs one file of its own', async () => {
    for (const file of ['index.html', 'callback.html']) {
      const html = await readFile(join(dist, file), 'utf8')
      expect(html).not.toMatch(/<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=/)
      expect(html.match(/<script/g)).toHaveLength(1)
      expect(html).not.toContain('modulepreload')
    }
    const scripts = (await readdir(join(dist, 'assets'))).filter((name) => name.endsWith('.js'))
    const callback = scripts.find((name) => name.startsWith('callback-')) ?? ''
    expect(await readFile(join(dist, 'callback.html'), 'utf8')).toContain(`src="/assets/${callback}"`)
    expect(await readFile(join(dist, 'assets', callback), 'utf8')).not.toMatch(/\bimport\b[^.(]|\bimport\(/)
  })
})

describe('the example SPA', () => {
  it('logs in, shows the claims, calls the API, and counts down', async () => {
    const page = await logIn()
    expect(await page.getByTestId('claims-email').textContent()).toBe('demo@example.com')
    await page.getByTestId('call-me').click()
    expect(await page.getByTestId('me-scope').textContent()).toBe('openid')
    const seconds = async (): Promise<number> =>
      Number(await page.getByTestId('token-countdown').getAttribute('data-seconds'))
    const first = await seconds()
    expect(first).toBeGreaterThan(280)
    await page.waitForFunction(
      (before) =>
        Number(document.querySelector<HTMLElement>('[data-testid=token-countdown]')?.dataset['seconds']) < before,
      first,
    )
    await page.getByTestId('refresh').click()
    await page.locator('[data-testid=events] [data-reason=updated]').waitFor()
    expect(server.agent.refreshes).toBe(1)
  })

  it('comes back to the deep link that the login began at, and keeps the session over a reload', async () => {
    const page = await logIn('/orders')
    expect(page.url()).toBe(`${server.origin}/orders`)
    await page.reload()
    await page.getByTestId('logout').waitFor()
    expect(page.url()).toBe(`${server.origin}/orders`)
  })

  it('places an order and shows it', async () => {
    const orders: unknown[] = []
    server.script('GET /api/orders', () => json(200, { orders }))
    server.script('POST /api/orders', ({ body }) => {
      const order = { id: 1, created_at: '2026-11-22T14:00:00Z', ...(JSON.parse(body.toString()) as object) }
      orders.push(order)
      return json(201, order)
    })
    const page = await logIn('/orders')
    await page.getByTestId('orders-empty').waitFor()
    await page.getByTestId('order-item').fill('Sealing wax')
    await page.getByTestId('order-quantity').fill('3')
    await page.getByTestId('order-submit').click()
    await page.getByTestId('order').waitFor()
    expect(await page.getByTestId('order').textContent()).toContain('Sealing wax')
    expect(orders).toEqual([{ id: 1, created_at: '2026-11-22T14:00:00Z', item: 'Sealing wax', quantity: 3 }])
  })

  it('shows the code of an error and what to do about it', async () => {
    const page = await logIn()
    server.script('GET /api/me', () => json(503, { code: 'store_unavailable' }, [], { 'retry-after': '5' }))
    await page.getByTestId('call-me').click()
    expect(await page.getByTestId('error').getAttribute('data-code')).toBe('store_unavailable')
    expect(await page.getByTestId('error-hint').textContent()).toMatch(/kept/)
    await page.getByTestId('error-dismiss').click()
    await page.getByTestId('error').waitFor({ state: 'detached' })
  })

  it('shows a logout in another tab at once', async () => {
    const page = await logIn()
    const other = await context.newPage()
    await other.goto(`${server.origin}/orders`)
    await other.getByTestId('logout').click()
    await page.getByTestId('welcome').waitFor()
    expect(await page.getByTestId('notice').textContent()).toContain('another tab')
  })

  it('finds no token, wherever script can look', async () => {
    const page = await logIn('/inspect')
    const result = page.getByTestId('inspect-result')
    await result.waitFor()
    expect(await result.getAttribute('data-tokens')).toBe('0')
    expect(await result.getAttribute('data-unread')).toBe('0')
    expect(await page.getByTestId('inspect-selftest').getAttribute('data-works')).toBe('true')
    // The session is there all the same.
    expect((await context.cookies()).map(({ name }) => name)).toContain('__Host-Http-th-sid')
  })

  it.each([
    ['document-cookie', (token: string) => void (document.cookie = `leak=${token}`)],
    ['local-storage', (token: string) => localStorage.setItem('leak', token)],
    ['session-storage', (token: string) => sessionStorage.setItem('leak', token)],
    ['cache-storage', async (token: string) => (await caches.open('leak')).put('/leak', new Response(token))],
    ['address', (token: string) => history.replaceState({ token }, '')],
    ['window-name', (token: string) => void (window.name = token)],
    ['globals', (token: string) => void Reflect.set(window, 'leak', token)],
    [
      'indexed-db',
      (token: string) =>
        new Promise<void>((resolve) => {
          const opening = indexedDB.open('leak')
          opening.addEventListener('upgradeneeded', () =>
            opening.result.createObjectStore('leak', { autoIncrement: true }),
          )
          opening.addEventListener('success', () => {
            opening.result.transaction('leak', 'readwrite').objectStore('leak').add(token)
            opening.result.close()
            resolve()
          })
        }),
    ],
  ])('would find a token that had leaked: %s', async (place, leak) => {
    const page = await logIn('/inspect')
    await page.getByTestId('inspect-result').waitFor()
    await page.evaluate<unknown, string>(leak, `${btoa('{"alg":"ES256"}').replaceAll('=', '')}.e30.c2lnbmF0dXJl`)
    await page.getByTestId('inspect-repeat').click()
    const row = page.locator(`[data-testid=inspect-${place}]:not([data-tokens="0"])`)
    await row.waitFor()
    expect(Number(await page.getByTestId('inspect-result').getAttribute('data-tokens'))).toBeGreaterThan(0)
  })

  it('would find a token in an answer of the API', async () => {
    server.script('GET /api/me', () => json(200, { access_token: 'eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl' }))
    const page = await logIn('/inspect')
    await page.locator('[data-testid=inspect-me][data-tokens="1"]').waitFor()
    expect(await page.getByTestId('inspect-result').getAttribute('data-tokens')).toBe('1')
  })
})
