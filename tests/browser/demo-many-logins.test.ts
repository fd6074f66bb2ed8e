import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { CookieJar } from '../support/cookie-jar.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { callApi, submitCredentials, useDemo } from './support.ts'

const bed = useDemo({
  configure: (config) => ({
    ...config,
    authorization_server: { ...config.authorization_server, pushed_authorization_requests: 'off' },
  }),
})

async function pendingLogins(page: Page): Promise<string[]> {
  return (await page.context().cookies()).map(({ name }) => name).filter((name) => name.includes('-login-'))
}

/** Signs in at the authorization server, and once more from the callback page if the login was one too many. */
async function finish(page: Page): Promise<'at once' | 'started again'> {
  await submitCredentials(page)
  const loggedIn = page.getByTestId('logout')
  const startAgain = page.getByTestId('start-again')
  await loggedIn.or(startAgain).waitFor()
  if (await loggedIn.isVisible()) return 'at once'
  expect(await page.getByTestId('callback-code').textContent()).toBe('unknown_state')
  await startAgain.click()
  await loggedIn.waitFor()
  return 'started again'
}

describe('many logins in one browser', () => {
  it('ten tabs that start one at the same time can all finish, and few cookies are left', async () => {
    const context = await bed.newContext()
    const tabs: Page[] = []
    while (tabs.length < 10) tabs.push(await bed.open('/', context))
    await Promise.all(tabs.map((tab) => tab.getByTestId('login').click()))
    await Promise.all(tabs.map((tab) => tab.locator('input[name=login]').waitFor()))
    const outcomes: string[] = []
    for (const tab of tabs) outcomes.push(await finish(tab))
    for (const tab of tabs) await callApi(tab)
    const [tab] = tabs as [Page]
    expect((await pendingLogins(tab)).length).toBeLessThanOrEqual(3)
    const names = (await context.cookies(bed.demo.url)).map(({ name }) => name)
    expect(names.filter((name) => name.endsWith('-sid'))).toHaveLength(1)
    expect(names.length).toBeLessThanOrEqual(8)
    expect(outcomes).toContain('at once')
  }, 60_000)

  it('[D-CK-09] a thousand that are abandoned leave three pending ones, a small header, and a login that works', async () => {
    const jar = new CookieJar({ maxPerDomain: 50 })
    const browser = new SessionBrowser(bed.demo.url, { jar })
    let longest = 0
    for (let count = 0; count < 1000; count++) {
      expect((await browser.call('POST', '/oauth-agent/login/start')).status).toBe(200)
      longest = Math.max(longest, jar.header(`${bed.demo.url}/oauth-agent/`).length)
    }
    expect(jar.names().filter((name) => name.includes('-login-'))).toHaveLength(3)
    // Three values of at most 512 bytes, and their names.
    expect(longest).toBeLessThanOrEqual(3 * (512 + 50))
    expect((await browser.logIn()).status).toBe(200)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
  }, 60_000)
})
