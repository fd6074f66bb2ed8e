import { beforeAll, describe, expect, it } from '@jest/globals'
import type { BrowserContext, Page } from 'playwright-core'
import { findJwts } from '../support/canary.ts'
import { traceBrowser, type BrowserTrace } from './trace.ts'
import { callApi, logIn, logOut, submitCredentials, useDemo } from './support.ts'

const lifetimeSeconds = 120
const bed = useDemo({ accessTokenLifetimeSeconds: lifetimeSeconds })

/** The access token of the session, as only the API should see it. */
function accessToken(): string {
  return bed.demo.authorizationServer.issued.at(-1)?.accessToken ?? ''
}

/** Codes have one place where they may be: the address that the authorization server redirects to. */
function withoutCallbackAddresses(place: string, text: string): string {
  return ['urls', 'headers'].includes(place) ? text.replaceAll(/\/callback\?[^\s"'#]+/g, '/callback') : text
}

/** Names of the places where a secret was found, with what it is. */
async function leaks(trace: BrowserTrace): Promise<string[]> {
  const secrets = bed.demo.secrets()
  const places = { ...(await trace.places()), wire: bed.demo.wire.sent(), log: [bed.demo.log()] }
  return Object.entries(places).flatMap(([name, texts]) =>
    secrets
      .find(withoutCallbackAddresses(name, withoutAssets(texts).join('\n')))
      .map(({ label }) => `${label} in ${name}`),
  )
}

/** What the wire carries is one text a connection; files of the build are large, and older than every secret. */
function withoutAssets(texts: readonly string[]): string[] {
  return [...new Set(texts)].map((text) =>
    text
      .split(/(?=HTTP\/1\.1 \d{3} )/)
      .filter((answer) => !/^content-type: (?:text\/javascript|text\/css)/im.test(answer.slice(0, 2000)))
      .join(''),
  )
}

/** Everything that the demo can do, with two tabs and two logins. */
async function wholeFlow(context: BrowserContext): Promise<Page> {
  const page = await bed.open('/orders', context)
  await page.getByTestId('login-orders').click()
  await submitCredentials(page, 'wrong')
  await submitCredentials(page)
  await page.getByTestId('orders-reload').waitFor()
  await page.getByTestId('order-item').fill('Ink')
  await page.getByTestId('order-submit').click()
  await page.getByTestId('order').first().waitFor()
  await page.getByTestId('nav-overview').click()
  await callApi(page)
  await page.getByTestId('refresh').click()
  await page.locator('[data-testid=events] li[data-reason=updated]').first().waitFor()
  bed.demo.clock.advanceSeconds(lifetimeSeconds + 1)
  const second = await bed.open('/', context)
  await callApi(second)
  await second.getByTestId('nav-inspect').click()
  await second.getByTestId('inspect-result').waitFor()
  await logOut(page)
  await logIn(page)
  await callApi(page)
  return page
}

describe('tokens, codes, code verifiers, the client’s secret and the keys', () => {
  let page: Page
  let trace: BrowserTrace

  beforeAll(async () => {
    const context = await bed.browser.newContext()
    trace = traceBrowser(context)
    page = await wholeFlow(context)
  }, 60_000)

  it('[A-04] are nowhere to be seen after all that the demo can do: answers, addresses, storage, console, log', async () => {
    const places = await trace.places()
    expect(Object.keys(places).length).toBe(13)
    for (const name of ['urls', 'headers', 'bodies', 'history', 'document', 'performance']) {
      expect(places[name]?.join('').length).toBeGreaterThan(100)
    }
    expect(bed.demo.authorizationServer.issued.length).toBeGreaterThanOrEqual(4)
    expect(await leaks(trace)).toEqual([])
    expect(findJwts(...Object.values(places), bed.demo.log(), bed.demo.wire.sent())).toEqual([])
  })

  it('are not in the tokens’ stead either: script sees neither the sid nor a sealed value', async () => {
    const cookies = await page.context().cookies(`${bed.demo.url}/oauth-agent`)
    expect(cookies.length).toBeGreaterThanOrEqual(3)
    const { headers: _theBrowsersOwn, ...places } = await trace.places()
    const seen = Object.values(places).flat().join('\n')
    for (const { value } of cookies) expect(seen).not.toContain(value)
  })

  it.each<[place: string, plant: (token: string) => Promise<unknown>]>([
    ['localStorage', (token) => page.evaluate((value) => localStorage.setItem('plant', value), token)],
    ['sessionStorage', (token) => page.evaluate((value) => sessionStorage.setItem('plant', btoa(value)), token)],
    [
      'indexedDB',
      (token) =>
        page.evaluate(
          (value) =>
            new Promise((resolve) => {
              const request = indexedDB.open('plant', 1)
              request.addEventListener('upgradeneeded', () => request.result.createObjectStore('store').add(value, 1))
              request.addEventListener('success', () => resolve(request.result.close()))
            }),
          token,
        ),
    ],
    [
      'cacheStorage',
      (token) => page.evaluate(async (value) => (await caches.open('plant')).put('/x', new Response(value)), token),
    ],
    ['cookies', (token) => page.evaluate((value) => (document.cookie = `plant=${value}`), token)],
    ['document', (token) => page.evaluate((value) => document.body.append(new Comment(value)), token)],
    ['window', (token) => page.evaluate((value) => (window.name = value), token)],
    ['performance', (token) => page.evaluate((value) => performance.mark(value), token)],
    ['urls', (token) => page.evaluate((value) => fetch(`/?plant=${encodeURIComponent(value)}`), token)],
    ['history', (token) => page.evaluate((value) => history.pushState(null, '', `/?plant=${value}`), token)],
    ['console', (token) => page.evaluate((value) => console.log('plant', value), token)],
    ['headers', plantHeader],
    ['wire', order],
    ['bodies', () => page.evaluate(async () => (await fetch('/api/orders')).text())],
    ['log', async (token) => bed.demo.logger.info({ event: 'plant', token }, 'Planted.')],
  ])('control: one that is planted in %s is found', async (place, plant) => {
    const found = async (): Promise<string[]> => (await leaks(trace)).map((leak) => leak.replace(/.* in /, ''))
    expect(await found()).not.toContain(place)
    await plant(accessToken())
    expect(await found()).toContain(place)
  })

  async function plantHeader(token: string): Promise<void> {
    await page.route('**/plant', (route) => route.fulfill({ headers: { 'x-plant': token } }))
    await page.evaluate(() => fetch('/plant'))
  }

  /** Past the page, so that only the wire has seen it. An order takes 200 characters: the signature alone counts, too. */
  async function order(token: string): Promise<void> {
    const cookies = await page.context().cookies(`${bed.demo.url}/api/orders`)
    const answer = await fetch(`${bed.demo.url}/api/orders`, {
      method: 'POST',
      headers: {
        'token-handler-version': '1',
        'content-type': 'application/json',
        cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; '),
      },
      body: JSON.stringify({ item: token.split('.')[2], quantity: 1 }),
    })
    expect(answer.status).toBe(201)
  }
})
