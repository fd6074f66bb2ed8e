import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { CookieJar } from '../support/cookie-jar.ts'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { callWith } from './call.ts'

const lifetimeSeconds = 120
let demo: TestDemo

beforeAll(async () => {
  demo = await startTestDemo({ accessTokenLifetimeSeconds: lifetimeSeconds })
})

afterAll(async () => {
  await demo.close()
})

async function logIn(jar?: CookieJar): Promise<SessionBrowser> {
  const browser = new SessionBrowser(demo.url, jar === undefined ? {} : { jar })
  expect((await browser.logIn()).status).toBe(200)
  return browser
}

/** Everything that a browser would send to agent and proxy, as one header. */
function headerOf({ jar }: SessionBrowser): string {
  return jar
    .snapshot()
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ')
}

describe('agent and proxy together', () => {
  it('the cookies of one are opened by the other, and the API sees the token and no cookie', async () => {
    const browser = await logIn()
    const answer = await browser.call('GET', '/api/me')
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({ sub: 'demo' })
    expect(demo.lastBearer()).toBe(demo.authorizationServer.issued.at(-1)?.accessToken)
    expect(demo.api.received.at(-1)?.headers).not.toHaveProperty('cookie')
    expect(browser.jar.refused).toEqual([])
  })

  it('[G-2] each path gets the cookies that it needs, and no others', async () => {
    const { jar } = await logIn()
    const names = (path: string): string[] =>
      jar
        .header(demo.url + path)
        .split('; ')
        .map((pair) => pair.replace(/=.*/, '').replace(/-[\w-]{8}$/, ''))
        .toSorted()
    expect(names('/')).toEqual(['__Host-Http-th-sid'])
    expect(names('/api/orders')).toEqual(['__Host-Http-th-sid', '__Secure-th-at'])
    expect(names('/oauth-agent/session')).toEqual(['__Host-Http-th-sid', '__Secure-th-id', '__Secure-th-rt'])
  })

  it('an access token that is over is the SPA’s cue to refresh, whether its cookie is gone or was kept', async () => {
    const browser = await logIn(new CookieJar({ now: () => demo.clock.now() }))
    const kept = headerOf(browser)
    demo.clock.advanceSeconds(lifetimeSeconds + 1)
    expect(browser.jar.names().filter((name) => name.includes('-at-'))).toEqual([])
    const gone = await browser.call('GET', '/api/me')
    expect([gone.status, gone.json()['code']]).toEqual([401, 'access_token_expired'])
    expect(gone.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    expect(await callWith(kept, `${demo.url}/api/me`)).toMatchObject({ status: 401, code: 'access_token_expired' })
    expect((await browser.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
  })

  it('[B-LO-08] a logout makes every copy of the cookies worthless at once', async () => {
    const browser = await logIn()
    await browser.call('POST', '/oauth-agent/refresh')
    const copy = headerOf(browser)
    const apiCalls = demo.api.received.length
    const refreshes = demo.tokenRequests('refresh_token').length
    expect((await browser.call('POST', '/oauth-agent/logout')).status).toBe(200)
    expect(browser.jar.names()).toEqual([])
    expect(await callWith(copy, `${demo.url}/api/me`)).toMatchObject({ status: 401, code: 'session_ended' })
    expect((await callWith(copy, `${demo.url}/oauth-agent/session`)).json).toEqual({ is_logged_in: false })
    const refresh = await callWith(copy, `${demo.url}/oauth-agent/refresh`, { method: 'POST' })
    expect(refresh).toMatchObject({ status: 401, code: 'session_expired' })
    expect(refresh.setCookies.filter((line) => !/Max-Age=0/.test(line))).toEqual([])
    expect(demo.api.received.length).toBe(apiCalls)
    expect(demo.tokenRequests('refresh_token').length).toBe(refreshes)
  })

  it('[B-LO-09] an API answer that was on its way during a logout sets no cookie', async () => {
    const browser = await logIn()
    const [call, end] = await Promise.all([browser.call('GET', '/api/me'), browser.call('POST', '/oauth-agent/logout')])
    expect(end.status).toBe(200)
    expect(call.headers.getSetCookie()).toEqual([])
    expect(browser.jar.names()).toEqual([])
  })

  it('a session ends softly when another login of the same browser replaces it', async () => {
    const browser = await logIn()
    const before = headerOf(browser)
    await browser.logIn()
    expect((await callWith(before, `${demo.url}/oauth-agent/session`)).json).toEqual({ is_logged_in: false })
    // Its access cookie runs out by itself: calls of other tabs that are on their way do not fail.
    expect((await callWith(before, `${demo.url}/api/me`)).status).toBe(200)
    demo.clock.advanceSeconds(lifetimeSeconds + 1)
    expect((await callWith(before, `${demo.url}/api/me`)).status).toBe(401)
  })

  it('requests without a session, without the header or from elsewhere never reach the API', async () => {
    const browser = await logIn()
    const cookie = headerOf(browser)
    const before = demo.api.received.length
    const url = `${demo.url}/api/orders`
    const codes = [
      await callWith('', url),
      await callWith(cookie, url, { origin: 'https://evil.example' }),
      await callWith(cookie, url, { origin: 'null' }),
    ].map(({ status, code }) => [status, code])
    const withoutHeader = await fetch(url, { method: 'POST', headers: { cookie, origin: demo.url } })
    codes.push([withoutHeader.status, ((await withoutHeader.json()) as { code: string }).code])
    expect(codes).toEqual([
      [401, 'session_missing'],
      [403, 'untrusted_origin'],
      [403, 'untrusted_origin'],
      [403, 'missing_header'],
    ])
    expect(demo.api.received.length).toBe(before)
  })
})
