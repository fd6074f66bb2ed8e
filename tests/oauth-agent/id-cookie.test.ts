import { afterEach, describe, expect, it } from '@jest/globals'
import type { SessionClaims } from '@token-handler/shared'
import type { StoredCookie } from '../support/cookie-jar.ts'
import { generateCapabilitySigning, jwtCapability } from './capability-options.ts'
import type { Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

const options = {
  roles: [{ name: 'admin', claim: 'roles', values: ['admin'] }],
  capabilities: [{ ...jwtCapability, roles: ['admin'] }],
  capabilitySigning: generateCapabilitySigning(),
}

let scripted: Scripted
afterEach(() => scripted.close())

/** What the next ID token says of the user; `undefined`: there is none in the next token answer. */
function nextIdToken(roles: readonly string[] | undefined): void {
  scripted.server.idToken = { claims: { roles } }
  scripted.server.tokenAnswer = roles === undefined ? { id_token: undefined } : {}
}

async function loggedIn(roles: readonly string[]): Promise<Browser> {
  scripted = await startScripted({ options })
  nextIdToken(roles)
  return scripted.loggedIn()
}

async function refresh(browser: Browser, roles: readonly string[] | undefined): Promise<void> {
  nextIdToken(roles)
  expect((await browser.post('refresh')).status).toBe(200)
}

const isIdCookie = ({ name }: StoredCookie): boolean => name.startsWith('__Secure-th-id-')

/** The jar with the ID cookie of an earlier time. */
function putBack({ jar }: Browser, earlier: readonly StoredCookie[]): void {
  jar.restore([...jar.snapshot().filter((cookie) => !isIdCookie(cookie)), ...earlier.filter(isIdCookie)])
}

const ask = async (browser: Browser): Promise<number> => (await browser.post('capabilities/realtime')).status

async function shows(browser: Browser): Promise<unknown[]> {
  const { json } = await browser.get('session')
  return [json['is_logged_in'], json['id_token_claims'] !== undefined]
}

describe('an ID cookie', () => {
  it('counts for nothing when one from before a refresh is put back: what that took away stays away', async () => {
    const browser = await loggedIn(['admin'])
    expect(await ask(browser)).toBe(200)
    const earlier = browser.jar.snapshot()
    await refresh(browser, [])
    await refresh(browser, undefined)
    expect(await ask(browser)).toBe(403)
    putBack(browser, earlier)
    expect(await ask(browser)).toBe(403)
    expect(await shows(browser)).toEqual([true, false])
  })

  it('and refresh cookie that are put back together do not give back what the refresh took away', async () => {
    const browser = await loggedIn(['admin'])
    const earlier = browser.jar.snapshot()
    await refresh(browser, [])
    browser.jar.restore(earlier)
    scripted.clock.advanceSeconds(120)
    expect(await ask(browser)).toBe(403)
    expect(await shows(browser)).toEqual([true, true])
    await refresh(browser, [])
    expect(await ask(browser)).toBe(403)
  })

  it('stays in force over refreshes without an ID token', async () => {
    const browser = await loggedIn(['admin'])
    for (let round = 0; round < 2; round++) await refresh(browser, undefined)
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
  })

  describe.each([
    ['both with', ['reader'], ['admin']],
    ['only the first with', ['admin'], undefined],
    ['only the second with', undefined, ['admin']],
  ])('of two refreshes, %s an ID token,', (_what, first, second) => {
    it.each([
      ['as they were made', [0, 1]],
      ['the other way round', [1, 0]],
    ])('is right when their answers come %s', async (_order, order) => {
      const browser = await loggedIn(['reader'])
      const tab = scripted.agent.browser()
      tab.jar.restore(browser.jar.snapshot())
      const answers: (readonly string[])[] = []
      for (const roles of [first, second]) {
        nextIdToken(roles)
        answers.push((await tab.post('refresh')).setCookies)
      }
      for (const which of order) browser.jar.store(scripted.agent.url, answers[which])
      expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
      await refresh(browser, undefined)
      expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
    })
  })

  it('is written before the refresh cookie: a request in between shows a newer one, never an older one', async () => {
    const browser = await loggedIn(['reader'])
    nextIdToken(['admin'])
    const before = browser.jar.snapshot()
    const { setCookies } = await browser.post('refresh')
    for (let count = 0; count <= setCookies.length; count++) {
      browser.jar.restore(before)
      browser.jar.store(scripted.agent.url, setCookies.slice(0, count))
      expect(await shows(browser)).toEqual([true, true])
    }
  })

  it('comes with the refresh cookie to a browser that missed the answers in between', async () => {
    const browser = await loggedIn(['reader'])
    const missed = browser.jar.snapshot()
    await refresh(browser, ['admin'])
    await refresh(browser, undefined)
    browser.jar.restore(missed)
    await refresh(browser, undefined)
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
  })

  it('of a release that told no generation counts as before, with a refresh cookie of that release and with a newer one', async () => {
    const browser = await loggedIn(['admin'])
    const { sealer } = scripted.agent
    const asBefore = (cookie: StoredCookie): StoredCookie => {
      const purpose = isIdCookie(cookie) ? 'id-token' : 'refresh-token'
      const opened = sealer.open<SessionClaims>(purpose, cookie.value)
      if (!opened.ok) return cookie
      const claims: Record<string, unknown> = { ...opened.claims }
      delete claims[isIdCookie(cookie) ? 'g' : 'idg']
      return { ...cookie, value: sealer.seal(purpose, claims as unknown as SessionClaims) }
    }
    browser.jar.restore(browser.jar.snapshot().map(asBefore))
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
    await refresh(browser, undefined)
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
    await refresh(browser, ['admin'])
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
    browser.jar.restore(browser.jar.snapshot().map((cookie) => (isIdCookie(cookie) ? asBefore(cookie) : cookie)))
    expect([await ask(browser), ...(await shows(browser))]).toEqual([200, true, true])
  })
})
