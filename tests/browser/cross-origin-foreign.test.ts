import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { sibling, stranger, useCrossOriginDemo } from './cross-origin-bed.ts'
import { callApi } from './support.ts'

const bed = useCrossOriginDemo()
const harmless = { atUpstream: 0, atAuthorizationServer: 0, victim: 'Demo User' }
const targets = ['/api/orders', '/oauth-agent/session', '/oauth-agent/refresh', '/oauth-agent/logout']

/**
 * What a page can make a browser do on its own. Each runs in the foreign page and answers what the page learned: nothing
 * (`refused`, or `opaque`), or else what it was.
 */
const attempts: Readonly<Record<string, (url: string) => Promise<unknown>>> = {
  'a fetch whose answer it may not read': (url) =>
    fetch(url, { credentials: 'include', mode: 'no-cors' }).then(
      ({ type }) => type,
      () => 'refused',
    ),
  'a fetch whose answer it wants to read': (url) =>
    fetch(url, { credentials: 'include' }).then(
      (response) => response.text(),
      () => 'refused',
    ),
  'a fetch with our header': (url) =>
    fetch(url, { credentials: 'include', headers: { 'token-handler-version': '1' } }).then(
      (response) => response.text(),
      () => 'refused',
    ),
  'a POST of text': (url) =>
    fetch(url, { method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"item":"x","quantity":1}' }).then(
      ({ type }) => type,
      () => 'refused',
    ),
  'a POST with our header': (url) =>
    fetch(url, { method: 'POST', credentials: 'include', headers: { 'token-handler-version': '1' } }).then(
      (response) => response.text(),
      () => 'refused',
    ),
  'an image': (url) =>
    new Promise((resolve) => {
      const image = new Image()
      image.addEventListener('load', () => resolve('loaded'))
      image.addEventListener('error', () => resolve('refused'))
      image.src = url
    }),
  'a script': (url) =>
    new Promise((resolve) => {
      const script = document.createElement('script')
      script.addEventListener('load', () => resolve('loaded'))
      script.addEventListener('error', () => resolve('refused'))
      script.src = url
      document.body.append(script)
    }),
  'a style sheet': (url) =>
    new Promise((resolve) => {
      const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: url })
      link.addEventListener('load', () => resolve('loaded'))
      link.addEventListener('error', () => resolve('refused'))
      document.head.append(link)
    }),
  'a frame': (url) =>
    new Promise((resolve) => {
      const frame = document.createElement('iframe')
      frame.addEventListener('load', () => resolve(frame.contentDocument === null ? 'refused' : 'readable'))
      frame.src = url
      document.body.append(frame)
    }),
  'a form posted into a frame': (url) =>
    new Promise((resolve) => {
      const frame = Object.assign(document.createElement('iframe'), { name: 'target' })
      const form = Object.assign(document.createElement('form'), { method: 'post', action: url, target: 'target' })
      form.append(Object.assign(document.createElement('input'), { name: 'item', value: 'x' }))
      document.body.append(frame, form)
      frame.addEventListener('load', () => {
        if (frame.contentDocument === null) resolve('refused')
      })
      form.submit()
    }),
  'an event source': (url) =>
    new Promise((resolve) => {
      const source = new EventSource(url, { withCredentials: true })
      source.addEventListener('open', () => resolve('open'))
      source.addEventListener('error', () => {
        source.close()
        resolve('refused')
      })
    }),
  'a WebSocket': (url) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url.replace('https:', 'wss:'))
      socket.addEventListener('open', () => resolve('open'))
      socket.addEventListener('error', () => resolve('refused'))
    }),
}

/**
 * The browser itself protects from other sites: no cookie goes along. A sibling's requests carry the session, and it is
 * we who refuse them.
 */
describe.each([
  ['a sibling that is not trusted', sibling, 'session'],
  ['another site', stranger, 'none'],
])('%s', (_what, name, cookiesOfRequests) => {
  let victim: Page
  let page: Page
  let before: { requests: number; upstream: number; backChannel: number }

  beforeAll(async () => {
    victim = await bed.logInForAll()
  })

  beforeEach(async () => {
    page = await victim.context().newPage()
    await page.goto(bed.foreign.origin(name))
    before = {
      requests: bed.demo.wire.requests.length,
      upstream: bed.demo.api.received.length,
      backChannel: bed.demo.authorizationServer.requests.length,
    }
  })

  afterEach(() => page.close())

  /** What the attempts led to; `harmless` whatever was tried. */
  async function consequences(): Promise<typeof harmless> {
    const atUpstream = bed.demo.api.received.length - before.upstream
    await callApi(victim)
    const atAuthorizationServer = bed.demo.authorizationServer.requests.length - before.backChannel
    return { atUpstream, atAuthorizationServer, victim: (await victim.getByTestId('user').textContent()) ?? '' }
  }

  const arrived = () => bed.demo.wire.requests.slice(before.requests)
  /** What cookies the requests and handshakes carried since the page was opened, preflights apart. */
  const cookies = () => {
    const requests = arrived().filter(({ method }) => method !== 'OPTIONS')
    const headers = [...requests.map((request) => request.headers), ...bed.handshakes]
    return [...new Set(headers.map(({ cookie = '' }) => (cookie.includes('-sid=') ? 'session' : cookie || 'none')))]
  }

  it.each(targets)('learns and causes nothing by script at %s', async (path) => {
    const outcomes: [string, unknown][] = []
    for (const [what, attempt] of Object.entries(attempts)) {
      outcomes.push([what, await page.evaluate(attempt, bed.demo.backendUrl + path)])
    }
    expect(outcomes.filter(([, outcome]) => outcome !== 'refused' && outcome !== 'opaque')).toEqual([])
    // Two attempts end with their preflight, and one is a handshake.
    expect(
      arrived()
        .map(({ method }) => method)
        .toSorted(),
    ).toEqual([...Array.from({ length: 7 }, () => 'GET'), 'OPTIONS', 'OPTIONS', 'POST', 'POST'])
    expect(bed.handshakes.map(({ origin }) => origin)).toEqual([bed.foreign.origin(name)])
    expect(cookies()).toEqual([cookiesOfRequests])
    expect(await consequences()).toEqual(harmless)
  })

  it('causes nothing with beacons', async () => {
    for (const path of targets) {
      await page.evaluate((url) => navigator.sendBeacon(url, 'x'), bed.demo.backendUrl + path)
    }
    await until('the beacons arrive', () => arrived().length === targets.length)
    expect(cookies()).toEqual([cookiesOfRequests])
    expect(await consequences()).toEqual(harmless)
  })

  it.each(targets)('learns and causes nothing by a link to %s', async (path) => {
    bed.foreign.page = `<a href="${bed.demo.backendUrl}${path}">click</a>`
    await page.goto(`${bed.foreign.origin(name)}/link`)
    await page.getByRole('link').click()
    await page.waitForURL(bed.demo.backendUrl + path)
    expect(refusals).toContain(await shownCode(page))
    expect(arrived().map(({ headers }) => headers['sec-fetch-dest'])).toEqual(['document'])
    expect(cookies()).toEqual([cookiesOfRequests])
    expect(await consequences()).toEqual(harmless)
  })

  it.each(targets)('learns and causes nothing by a form posted to %s', async (path) => {
    bed.foreign.page = `<form method="post" action="${bed.demo.backendUrl}${path}"><input name="item"><button>go</button></form>`
    await page.goto(`${bed.foreign.origin(name)}/form`)
    await page.getByRole('button').click()
    await page.waitForURL(bed.demo.backendUrl + path)
    expect(refusals).toContain(await shownCode(page))
    expect(arrived().map(({ method, headers }) => [method, headers.origin])).toEqual([
      ['POST', bed.foreign.origin(name)],
    ])
    expect(cookies()).toEqual([cookiesOfRequests])
    expect(await consequences()).toEqual(harmless)
  })

  it.each(targets)('learns and causes nothing by a popup of %s', async (path) => {
    await page.evaluate((url) => void window.open(url, 'popup'), bed.demo.backendUrl + path)
    await until('the popup arrives', () => arrived().length > 0)
    const learned = await page.evaluate(async () => {
      const popup = window.open('', 'popup')
      try {
        return popup?.document.body.textContent ?? 'refused'
      } catch {
        return 'refused'
      }
    })
    expect(['refused', '']).toContain(learned)
    expect(cookies()).toEqual([cookiesOfRequests])
    expect(await consequences()).toEqual(harmless)
  })
})

const refusals = ['cross_site', 'missing_header', 'untrusted_origin', 'untrusted_destination', 'method_not_allowed']

/** The browser shows an answer that says why, and nothing of the session. */
async function shownCode(page: Page): Promise<unknown> {
  const text = (await page.locator('body').textContent()) ?? ''
  const { code, error_code: errorCode } = JSON.parse(text) as Record<string, unknown>
  return code ?? errorCode
}
