import { afterEach, describe, expect, it } from '@jest/globals'
import { clearCookieLine } from '@token-handler/shared'
import type { Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

const api = 'http://localhost:3000/api/orders'
/** What is configured unless an operator raises it. */
const defaultResponseBudget = 3328

let scripted: Scripted
afterEach(() => scripted.close())

async function start(tokenBytes: number, responseBudgetBytes = defaultResponseBudget): Promise<void> {
  scripted = await startScripted({ cookies: { responseBudgetBytes } })
  scripted.server.tokenAnswer = { access_token: 'a'.repeat(tokenBytes) }
}

async function logIn(browser: Browser): Promise<readonly string[]> {
  const { answer } = await scripted.logIn(browser)
  expect([answer.status, answer.json['error_code']]).toEqual([200, undefined])
  return answer.setCookies
}

function tagIn({ jar }: Browser): string {
  return jar.get('__Host-Http-th-sid')[0]?.value.slice(0, 8) ?? ''
}

/** Names of cookies of one kind that are not the present session's. */
function leftIn(browser: Browser, kind: 'at' | 'rt' | 'id'): string[] {
  const own = `__Secure-th-${kind}-${tagIn(browser)}`
  return browser.jar.names().filter((name) => name.includes(`-th-${kind}-`) && !name.startsWith(own))
}

const bytesOf = (lines: readonly string[]): number => lines.reduce((sum, line) => sum + line.length + 14, 0)

describe('the access cookie of a session that a login replaces', () => {
  it.each([
    [900, defaultResponseBudget],
    [3000, 15_000],
  ])(
    '[D-CK-10] leaves the browser: API calls carry one of %i bytes, however many logins',
    async (tokenBytes, budget) => {
      await start(tokenBytes, budget)
      const browser = scripted.agent.browser()
      await logIn(browser)
      const first = browser.jar.header(api).length
      for (let login = 2; login <= 10; login++) {
        expect(bytesOf(await logIn(browser))).toBeLessThanOrEqual(budget)
        expect(browser.jar.header(api).length).toBe(first)
      }
    },
  )

  it('[D-CK-16] is not left by the logout either', async () => {
    await start(900)
    const browser = scripted.agent.browser()
    for (let login = 1; login <= 6; login++) await logIn(browser)
    expect((await browser.post('logout')).status).toBe(200)
    expect(browser.jar.names()).toEqual([])
  })

  it('goes with the next answer that has room, where the largest token that can log in leaves none', async () => {
    await start(100)
    let [fits, tooLarge] = [100, 2000]
    while (tooLarge - fits > 1) {
      const middle = Math.floor((fits + tooLarge) / 2)
      scripted.server.tokenAnswer = { access_token: 'a'.repeat(middle) }
      const { answer } = await scripted.logIn(scripted.agent.browser())
      if (answer.status === 200) fits = middle
      else tooLarge = middle
    }
    expect(fits).toBeGreaterThan(1000)
    scripted.server.tokenAnswer = { access_token: 'a'.repeat(fits) }
    const browser = scripted.agent.browser()
    for (let login = 1; login <= 4; login++) {
      expect(bytesOf(await logIn(browser))).toBeLessThanOrEqual(defaultResponseBudget)
      expect(leftIn(browser, 'at').length).toBeLessThanOrEqual(1)
      expect(browser.jar.header(api).length).toBeLessThanOrEqual(7168)
    }
    await browser.post('login/start')
    expect([...leftIn(browser, 'at'), ...leftIn(browser, 'rt'), ...leftIn(browser, 'id')]).toEqual([])
  })

  it('is deleted under every name that it can have, when nothing tells how long it is', async () => {
    await start(3000, 15_000)
    const browser = scripted.agent.browser()
    await logIn(browser)
    const refresh = `__Secure-th-rt-${tagIn(browser)}`
    browser.jar.store(scripted.agent.url, [clearCookieLine(refresh, '/oauth-agent')])
    await logIn(browser)
    expect(leftIn(browser, 'at')).toEqual([])
  })

  it('goes with the next answer, when a late refresh brought it back', async () => {
    await start(3000, 15_000)
    const browser = scripted.agent.browser()
    await logIn(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    const late = await scripted.agent.browser().post('refresh', undefined, { cookie })
    await logIn(browser)
    browser.jar.store(scripted.agent.url, late.setCookies)
    expect(leftIn(browser, 'at')).toHaveLength(2)
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    expect([...leftIn(browser, 'at'), ...leftIn(browser, 'rt')]).toEqual([])
  })
})
