import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { callApi, logIn, logOut, useDemo } from './support.ts'

const lifetimeSeconds = 120
const bed = useDemo({ accessTokenLifetimeSeconds: lifetimeSeconds })

/** Tabs of one browser that is logged in. */
async function openTabs(count: number): Promise<Page[]> {
  const first = await bed.logIn()
  const tabs = [first]
  while (tabs.length < count) tabs.push(await bed.open('/', first.context()))
  await Promise.all(tabs.map((tab) => tab.getByTestId('call-me').waitFor()))
  return tabs
}

function refreshes(): number {
  return bed.demo.tokenRequests('refresh_token').length
}

function expireAccessToken(): void {
  bed.demo.clock.advanceSeconds(lifetimeSeconds + 1)
}

describe('several tabs', () => {
  it('share one refresh when the access token is over', async () => {
    const tabs = await openTabs(2)
    const before = refreshes()
    expireAccessToken()
    const seen = bed.demo.wire.requests.length
    await Promise.all(tabs.map(callApi))
    expect(refreshes()).toBe(before + 1)
    // Both met the expiry: that only one of them refreshed is not for lack of need.
    const calls = bed.demo.wire.requests.slice(seen).filter(({ path }) => path === '/api/me')
    expect(calls.length).toBeGreaterThanOrEqual(3)
    expect(bed.demo.lastBearer()).toBe(bed.demo.authorizationServer.issued.at(-1)?.accessToken)
  })

  it('that slept past the end of the access token wake together: one token request, nobody logged out', async () => {
    const tabs = await openTabs(5)
    const before = refreshes()
    const wake = await Promise.all(tabs.map(putToSleep))
    expireAccessToken()
    const answers = Promise.all(tabs.map(callApi))
    await Promise.all(wake.map((wakeUp) => wakeUp()))
    await answers
    expect(refreshes()).toBe(before + 1)
    for (const tab of tabs) {
      expect(await tab.getByTestId('logout').isVisible()).toBe(true)
      expect(await tab.getByTestId('error').count()).toBe(0)
    }
  })

  it('may all be told to refresh at once, and none of them loses the session', async () => {
    const tabs = await openTabs(3)
    const before = bed.demo.authorizationServer.issued.length
    await Promise.all(tabs.map((tab) => tab.getByTestId('refresh').click()))
    await Promise.all(tabs.map((tab) => tab.locator('[data-testid=refresh]:enabled').waitFor()))
    // "Refresh now" refreshes however young the token, so each of them may; none of them may fail.
    const count = bed.demo.authorizationServer.issued.length - before
    expect(count).toBeGreaterThanOrEqual(1)
    expect(count).toBeLessThanOrEqual(3)
    await Promise.all(tabs.map(callApi))
    expect(bed.demo.log()).not.toContain('session_superseded')
  })

  it('are all logged out by a logout in one of them', async () => {
    const [tab, other] = (await openTabs(2)) as [Page, Page]
    await logOut(tab)
    await other.getByTestId('welcome').waitFor()
    expect(await other.getByTestId('notice').textContent()).toContain('You logged out in another tab.')
    const status = await other.evaluate(async () => (await fetch('/api/me')).status)
    expect(status).toBe(401)
  })

  it('all hear of a login in one of them', async () => {
    const first = await bed.open()
    const second = await bed.open('/orders', first.context())
    await second.getByTestId('orders-login').waitFor()
    await logIn(first)
    await second.getByTestId('orders-reload').waitFor()
    expect(await second.getByTestId('user').textContent()).toBe('Demo User')
  })

  it('keep one session when a second login replaces the first', async () => {
    const [first, second] = (await openTabs(2)) as [Page, Page]
    const sid = async (): Promise<string | undefined> =>
      (await first.context().cookies()).find(({ name }) => name.endsWith('-sid'))?.value
    const before = await sid()
    await second.evaluate(async () => {
      const answer = await fetch('/oauth-agent/login/start', {
        method: 'POST',
        headers: { 'token-handler-version': '1' },
      })
      const { authorization_url: url } = (await answer.json()) as { authorization_url: string }
      location.assign(url)
    })
    await second.getByTestId('logout').waitFor()
    await until('a new session', async () => (await sid()) !== before)
    await Promise.all([first, second].map(callApi))
    const names = (await first.context().cookies()).map(({ name }) => name)
    expect(names.filter((name) => name.includes('-rt-'))).toHaveLength(1)
  })
})

/**
 * Stops everything in a tab, as a closed lid does: no script, no timer, no message of another tab gets through.
 * @returns wakes it up
 */
async function putToSleep(tab: Page): Promise<() => Promise<unknown>> {
  const devtools = await tab.context().newCDPSession(tab)
  await devtools.send('Debugger.enable')
  const asleep = new Promise((resolve) => devtools.once('Debugger.paused', resolve))
  await devtools.send('Debugger.pause')
  // It stops at its next statement, which is this one.
  const statement = devtools.send('Runtime.evaluate', { expression: '0' })
  await asleep
  return () => Promise.all([devtools.send('Debugger.resume'), statement])
}
