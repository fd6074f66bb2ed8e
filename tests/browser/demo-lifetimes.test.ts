import { describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import type { Cookie, Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { callApi, useDemo } from './support.ts'

/** Short, for this file waits for the real end of tokens: the browser's cookie store knows no other clock. */
const lifetimeSeconds = 4
const bed = useDemo({
  accessTokenLifetimeSeconds: lifetimeSeconds,
  configure: (config) => ({ ...config, session: { idle_seconds: 60, access_cookie_seconds: 30 } }),
})

async function accessCookie(page: Page): Promise<Cookie | undefined> {
  return (await page.context().cookies(`${bed.demo.url}/api/me`)).find(({ name }) => name.includes('-at-'))
}

function seconds(page: Page, countdown: string): Promise<number> {
  return page.getByTestId(countdown).evaluate((element) => Number(element.dataset['seconds']))
}

/** What script gets for a call without the library, which would refresh. */
function plainCall(page: Page): Promise<{ status: number; code: string | undefined }> {
  return page.evaluate(async () => {
    const answer = await fetch('/api/me')
    return { status: answer.status, code: ((await answer.json()) as { code?: string }).code }
  })
}

describe('the access token', () => {
  it('and its cookie expire together', async () => {
    const page = await bed.logIn()
    const { exp = 0 } = decodeJwt(bed.demo.authorizationServer.issued.at(-1)?.accessToken ?? '')
    const cookie = await accessCookie(page)
    expect(Math.abs((cookie?.expires ?? 0) - exp)).toBeLessThanOrEqual(1.5)
    expect((await plainCall(page)).status).toBe(200)
    await until('the end of the cookie', async () => (await accessCookie(page)) === undefined)
    expect(Math.abs(Date.now() / 1000 - exp)).toBeLessThanOrEqual(2)
    // The session cookie is there still, so the SPA is told to refresh and not to log in.
    expect(await plainCall(page)).toEqual({ status: 401, code: 'access_token_expired' })
    // A copy of the cookie that outlives its Max-Age is worth nothing: the deadline is sealed inside, too.
    await page.context().addCookies([{ ...(cookie as Cookie), expires: -1 }])
    expect(await plainCall(page)).toEqual({ status: 401, code: 'access_token_expired' })
    await callApi(page)
    expect((await plainCall(page)).status).toBe(200)
  })

  it('counts down on the page, with the session and the idle deadline', async () => {
    const page = await bed.logIn()
    const start = await seconds(page, 'token-countdown')
    expect(start).toBeLessThanOrEqual(lifetimeSeconds)
    const [session, idle] = [await seconds(page, 'session-countdown'), await seconds(page, 'idle-countdown')]
    expect(session).toBeGreaterThan(12 * 3600 - 10)
    expect(idle).toBeGreaterThan(50)
    await page.locator('[data-testid=token-countdown][data-seconds="0"]').waitFor()
    expect(await page.getByTestId('token-countdown').textContent()).toContain('0:00')
    expect(await seconds(page, 'session-countdown')).toBeLessThan(session)
    expect(await seconds(page, 'idle-countdown')).toBeLessThan(idle)
    // Without calls nothing is refreshed: an abandoned tab keeps no session alive.
    expect(await page.getByTestId('logout').isVisible()).toBe(true)
  })

  it('is renewed at once by "Refresh now", with new cookies and a new token', async () => {
    const page = await bed.logIn()
    await page.locator('[data-testid=token-countdown][data-seconds="1"]').waitFor()
    const [before, cookie] = [bed.demo.authorizationServer.issued.length, await accessCookie(page)]
    await page.getByTestId('refresh').click()
    await page.locator('[data-testid=token-countdown][data-seconds="3"]').waitFor()
    expect(bed.demo.authorizationServer.issued.length).toBe(before + 1)
    expect((await accessCookie(page))?.name).toBe(cookie?.name)
    expect((await accessCookie(page))?.value).not.toBe(cookie?.value)
    await page.locator('[data-testid=events] li[data-reason=updated]').waitFor()
  })

  it('is renewed by the next call when it is over, and the call goes through with its body', async () => {
    const page = await bed.logIn()
    await page.getByTestId('nav-orders').click()
    await page.getByTestId('order-item').fill('Cedar wood box')
    bed.demo.clock.advanceSeconds(lifetimeSeconds + 1)
    const before = bed.demo.tokenRequests('refresh_token').length
    await page.getByTestId('order-submit').click()
    await page.getByTestId('order').filter({ hasText: 'Cedar wood box' }).waitFor()
    expect(bed.demo.tokenRequests('refresh_token').length).toBe(before + 1)
    expect(await page.getByTestId('order').count()).toBe(1)
  })
})
