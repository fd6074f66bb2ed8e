import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'

const lifetimeSeconds = 300
let demo: TestDemo

beforeAll(async () => {
  demo = await startTestDemo({ accessTokenLifetimeSeconds: lifetimeSeconds })
})

afterAll(async () => {
  await demo.close()
})

describe('a clock that is set', () => {
  let jumped = 0
  afterEach(() => {
    demo.clock.jump(-jumped)
  })

  it.each([
    ['ten minutes ahead', 600],
    ['ten minutes back', -600],
    ['an hour ahead', 3590],
    ['an hour back', -3600],
  ])('[E-CK-05] %s costs one refresh', async (_what, seconds) => {
    const browser = new SessionBrowser(demo.url)
    expect((await browser.logIn()).status).toBe(200)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
    const refreshes = demo.tokenRequests('refresh_token').length
    jumped = seconds * 1000
    demo.clock.jump(jumped)
    const call = await browser.call('GET', '/api/me')
    expect([call.status, call.json()['code']]).toEqual([401, 'access_token_expired'])
    const session = await browser.call('GET', '/oauth-agent/session')
    expect(session.json()).toMatchObject({ is_logged_in: true, access_token_expires_in: 0 })
    const refresh = await browser.call('POST', '/oauth-agent/refresh')
    expect([refresh.status, refresh.json()]).toMatchObject([200, { access_token_lifetime: lifetimeSeconds }])
    expect(refresh.json()['access_token_expires_in']).toBeGreaterThan(lifetimeSeconds - 30)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
    expect(demo.tokenRequests('refresh_token').length).toBe(refreshes + 1)
  })
})
