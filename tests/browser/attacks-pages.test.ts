import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Frame, Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { callApi, logIn, logOut, submitCredentials, useDemo } from './support.ts'

const bed = useDemo()
let foreign: { origin: string; page: string; close(): void }

beforeAll(async () => {
  foreign = await startForeign()
})
afterAll(() => foreign.close())

describe('clickjacking', () => {
  it.each(['/', '/orders', '/callback', '/callback.html', '/index.html', '/assets/none.js'])(
    '%s shows in no frame, neither of another site nor of the SPA itself',
    async (path) => {
      const page = await bed.logIn()
      foreign.page = `<iframe src="${bed.demo.url}${path}"></iframe><iframe src="${foreign.origin}/control"></iframe>`
      await page.goto(`${foreign.origin}/frames`)
      const [framed, control] = await framesOf(page)
      expect(framed?.url()).toBe('chrome-error://chromewebdata/')
      expect(control?.url()).toBe(`${foreign.origin}/control`)
    },
  )

  it.each(['/oauth-agent/session', '/api/me'])('%s shows in no frame', async (path) => {
    const page = await bed.logIn()
    const upstream = bed.demo.api.received.length
    foreign.page = `<iframe src="${bed.demo.url}${path}"></iframe>`
    await page.goto(`${foreign.origin}/frames`)
    const [framed] = await framesOf(page)
    const text = await framed?.evaluate(() => document.body.textContent)
    expect(text ?? '').not.toContain('demo')
    expect(bed.demo.api.received).toHaveLength(upstream)
  })
})

describe('caching and history', () => {
  it('[D-CA-01] every answer of agent and proxy is no-store, and so is the callback page', async () => {
    const page = await bed.open()
    const cached: string[] = []
    page.on('response', (response) => {
      const { pathname } = new URL(response.url())
      const isOurs = response.url().startsWith(bed.demo.url)
      const isPrivate = /^\/(?:oauth-agent|api|callback)/.test(pathname)
      if (isOurs && isPrivate && response.headers()['cache-control'] !== 'no-store') cached.push(pathname)
    })
    await logIn(page)
    await callApi(page)
    await logOut(page)
    expect(cached).toEqual([])
  })

  it('going back after a logout shows nothing of the session', async () => {
    const page = await bed.logIn()
    await callApi(page)
    await logOut(page)
    for (let steps = 0; steps < 3; steps++) {
      await page.goBack().catch(() => null)
      if (!page.url().startsWith(bed.demo.url)) continue
      await page.getByTestId('welcome').waitFor()
      expect(await page.locator('body').textContent()).not.toContain('demo@example.com')
    }
  })

  it('a page that comes back from the back/forward cache asks again who is logged in', async () => {
    const page = await bed.logIn()
    await callApi(page)
    // The session ends where this page cannot see it, as while it is frozen.
    await logOutElsewhere(page)
    expect(await page.locator('body').textContent()).toContain('demo@example.com')
    // Headless Chromium has no such cache; this is what the page would hear from it (HTML standard, "reactivate").
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
    await page.getByTestId('welcome').waitFor()
    expect(await page.locator('body').textContent()).not.toContain('demo@example.com')
  })
})

describe('referrer', () => {
  it('[D-SEC-04] no request says where it comes from, not even the one that fetches the callback page’s script', async () => {
    const page = await bed.open('/orders')
    const referers: string[] = []
    page.on('request', (request) => {
      const { referer } = request.headers()
      if (referer?.startsWith(bed.demo.url) === true) referers.push(request.url())
    })
    const before = bed.demo.wire.requests.length
    await page.getByTestId('login-orders').click()
    await submitCredentials(page)
    await page.getByTestId('orders-reload').waitFor()
    await page.evaluate((url) => void (location.href = url), `${foreign.origin}/elsewhere`)
    await page.waitForURL(`${foreign.origin}/elsewhere`)
    const requests = bed.demo.wire.requests.slice(before)
    expect(requests.map(({ path }) => path)).toContain('/callback')
    expect(requests.filter(({ headers }) => headers.referer?.includes('code=') === true)).toEqual([])
    expect(referers).toEqual([])
  })
})

describe('content security policy', () => {
  it('is not in the way of a login, a call, and a logout', async () => {
    const page = await bed.open()
    const violations: string[] = []
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) violations.push(message.text())
    })
    await logIn(page)
    await callApi(page)
    await page.getByTestId('nav-orders').click()
    await page.getByTestId('orders-reload').waitFor()
    await page.getByTestId('nav-inspect').click()
    await page.getByTestId('inspect-table').waitFor()
    await logOut(page)
    expect(violations).toEqual([])
  })

  it('lets injected markup run nothing and send nothing', async () => {
    const page = await bed.logIn()
    const outcomes = await page.evaluate(async (elsewhere) => {
      const refused = (work: () => Promise<unknown>): Promise<string> => work().then(String, () => 'refused')
      const marks = window as unknown as Record<string, unknown>
      document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.injected = 1">')
      const inline = document.createElement('script')
      inline.textContent = 'window.injected = 2'
      document.body.append(inline)
      const remote = Object.assign(document.createElement('script'), { src: `${elsewhere}/x.js` })
      const loaded = new Promise<string>((resolve) => {
        remote.addEventListener('load', () => resolve('loaded'))
        remote.addEventListener('error', () => resolve('refused'))
      })
      document.body.append(remote)
      const form = Object.assign(document.createElement('form'), { action: `${elsewhere}/form`, method: 'post' })
      document.body.append(form)
      form.submit()
      const frame = Object.assign(document.createElement('iframe'), { src: `${elsewhere}/frame` })
      document.body.append(frame)
      const base = Object.assign(document.createElement('base'), { href: elsewhere })
      document.head.append(base)
      await new Promise((resolve) => setTimeout(resolve, 300))
      return {
        injected: String(marks['injected']),
        remote: await loaded,
        fetch: await refused(() => fetch(`${elsewhere}/fetch`, { mode: 'no-cors' })),
        worker: await refused(
          () =>
            new Promise((resolve, reject) => {
              const worker = new Worker(URL.createObjectURL(new Blob(['postMessage("started")'])))
              worker.addEventListener('message', ({ data }) => resolve(data))
              worker.addEventListener('error', reject)
            }),
        ),
        // oxlint-disable-next-line no-eval -- what is to be refused
        eval: await refused(async () => String((0, eval)('1'))),
        base: document.baseURI.startsWith(elsewhere) ? 'moved' : 'refused',
      }
    }, foreign.origin)
    expect(outcomes).toEqual({
      injected: 'undefined',
      remote: 'refused',
      fetch: 'refused',
      worker: 'refused',
      eval: 'refused',
      base: 'refused',
    })
    expect(page.url()).toBe(`${bed.demo.url}/`)
  })
})

async function framesOf(page: Page): Promise<Frame[]> {
  const children = () => page.mainFrame().childFrames()
  await until('the frames are there', () => children().length > 0 && children().every((frame) => frame.url() !== ''))
  await page.waitForLoadState('load')
  return children()
}

/** Logs out with the cookies of this browser, from outside of it. */
async function logOutElsewhere(page: Page): Promise<void> {
  const cookies = await page.context().cookies(`${bed.demo.url}/oauth-agent/logout`)
  const answer = await fetch(`${bed.demo.url}/oauth-agent/logout`, {
    method: 'POST',
    headers: {
      origin: bed.demo.url,
      'token-handler-version': '1',
      cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; '),
    },
  })
  if (!answer.ok) throw new Error(`logout answered ${answer.status}`)
}

/** On 127.0.0.1, which is another site than localhost. */
async function startForeign(): Promise<typeof foreign> {
  const site = { page: '' }
  const server: Server = createServer((req, res) => {
    const body = req.url === '/frames' ? site.page : 'elsewhere'
    res.setHeader('content-type', 'text/html').end(`<!doctype html><title>foreign</title>${body}`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(site, {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => void [server.close(), server.closeAllConnections()],
  })
}
