import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { sibling, stranger, useCrossOriginDemo } from './cross-origin-bed.ts'
import { refusedEverywhere, tryToHijack } from './hijack.ts'
import { logOut } from './support.ts'

const bed = useCrossOriginDemo()
const feeds = ['sse', 'ws'] as const

async function openLive(page: Page): Promise<void> {
  await page.getByTestId('nav-live').click()
  for (const feed of feeds) await page.locator(`[data-testid=${feed}-state][data-status=open]`).waitFor()
}

async function sendNote(page: Page, text: string): Promise<void> {
  await page.getByTestId('note').fill(text)
  await page.getByTestId('note-send').click()
  for (const feed of feeds) await page.getByTestId(`${feed}-entries`).getByText(text).waitFor()
}

describe('live feeds from another origin of the same site', () => {
  it('come over event stream and WebSocket, with the token and without the cookies', async () => {
    const page = await bed.logIn()
    await openLive(page)
    await sendNote(page, 'across origins')
    expect(bed.handshakes.map(({ origin }) => origin)).toEqual([bed.demo.url])
    for (const path of ['/api/feed', '/api/events']) {
      const { headers } = bed.demo.api.received.findLast(({ url }) => url?.startsWith(path)) ?? {}
      expect(headers?.authorization).toMatch(/^Bearer /)
      expect(headers?.cookie).toBeUndefined()
    }
  })

  it('end with the logout in another tab', async () => {
    const page = await bed.logIn()
    await openLive(page)
    const other = await page.context().newPage()
    await other.goto(bed.demo.url)
    await other.getByTestId('logout').waitFor()
    await logOut(other)
    for (const feed of feeds) {
      const state = page.getByTestId(`${feed}-state`).and(page.locator('[data-status=closed]'))
      await state.waitFor()
      expect(await state.textContent()).toBe('session ended')
    }
  })
})

/** A browser sends the handshake of any page, and knows no CORS for it: nobody but the proxy can refuse. */
describe.each([
  ['a sibling that is not trusted', sibling, true],
  ['another site', stranger, false],
])('%s', (_what, name, hasCookies) => {
  it('can take over no stream of the session: the API sees not a byte', async () => {
    const victim = await bed.logIn()
    await openLive(victim)
    const thief = await victim.context().newPage()
    await thief.goto(bed.foreign.origin(name))
    const before = bed.demo.api.received.length
    const handshakes = bed.handshakes.length
    const requests = bed.demo.wire.requests.length
    expect(await tryToHijack(thief, bed.demo.backendUrl)).toEqual(refusedEverywhere)
    // They did arrive, from where they came, and with the session where the browser sends it along.
    const stolen = bed.handshakes.slice(handshakes)
    expect(stolen.map(({ origin }) => origin)).toEqual([bed.foreign.origin(name), bed.foreign.origin(name)])
    expect(stolen.map(({ cookie = '' }) => cookie.includes('-sid='))).toEqual([hasCookies, hasCookies])
    await until('the requests', () => bed.demo.wire.requests.slice(requests).some(({ path }) => path === '/api/events'))
    expect(bed.demo.api.received.slice(before)).toEqual([])
    await sendNote(victim, 'still mine')
  })
})
