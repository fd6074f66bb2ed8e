import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { ACR_CONFIRMED, ACR_PASSWORD } from '../../spa-example/authorization-server/authentication-context.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser, type BrowserAnswer } from '../support/session-browser.ts'
import { signIn } from '../support/sign-in.ts'

let demo: TestDemo
beforeAll(async () => {
  demo = await startTestDemo({
    configure: (config) => ({
      ...config,
      proxy: {
        routes: (config.proxy?.routes ?? []).map((route) =>
          route.path === '/api/me' ? { ...route, acr_values: [ACR_CONFIRMED], max_age: 120 } : route,
        ),
      },
    }),
  })
})
afterAll(() => demo.close())

/** A browser with the SPA's cookies and those of the authorization server. */
class User {
  readonly server = new CookieJar()
  readonly spa: SessionBrowser

  constructor() {
    this.spa = new SessionBrowser(demo.url, { jar: new CookieJar({ now: () => demo.clock.now() }) })
  }

  async logIn(parameters: Record<string, string> = {}): Promise<BrowserAnswer> {
    const started = await this.spa.call('POST', '/oauth-agent/login/start', new URLSearchParams(parameters))
    const authorizationUrl = String(started.json()['authorization_url'])
    const callback = await signIn({ authorizationUrl, redirectUri: `${demo.url}/callback`, jar: this.server })
    return this.spa.call('POST', '/oauth-agent/login/end', callback.searchParams)
  }

  /** Another tab: it sends what the browser had before. */
  copy(): SessionBrowser {
    const jar = new CookieJar({ now: () => demo.clock.now() })
    jar.restore(this.spa.jar.snapshot())
    return new SessionBrowser(demo.url, { jar })
  }
}

/** Parameters of a challenge (RFC 9470 section 3), as an SPA reads them. */
function challengeOf(answer: BrowserAnswer): Record<string, string> {
  const header = answer.headers.get('www-authenticate') ?? ''
  return Object.fromEntries([...header.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]))
}

const acrOf = (answer: BrowserAnswer): unknown =>
  (answer.json()['id_token_claims'] as { acr?: unknown } | undefined)?.acr

describe('a route that asks for more than the login gave', () => {
  it('[F-OP-3] [B-SU-02] says what is missing, and is open after a login that was asked for it', async () => {
    const user = new User()
    expect(acrOf(await user.logIn())).toBe(ACR_PASSWORD)
    expect((await user.spa.call('GET', '/api/orders')).status).toBe(200)
    const refused = await user.spa.call('GET', '/api/me')
    expect([refused.status, refused.json()['code']]).toEqual([401, 'step_up_required'])
    expect(challengeOf(refused)).toEqual({
      error: 'insufficient_user_authentication',
      acr_values: ACR_CONFIRMED,
      max_age: '120',
    })
    expect(refused.headers.get('access-control-expose-headers')).toMatch(/\bWWW-Authenticate\b/)

    const { acr_values, max_age } = challengeOf(refused)
    const stepped = await user.logIn({ acr_values: acr_values ?? '', max_age: max_age ?? '' })
    expect([stepped.status, acrOf(stepped)]).toEqual([200, ACR_CONFIRMED])
    const session = await user.spa.call('GET', '/oauth-agent/session')
    expect(session.json()['id_token_claims']).toMatchObject({ acr: ACR_CONFIRMED, auth_time: expect.any(Number) })
    expect((await user.spa.call('GET', '/api/me')).status).toBe(200)
    expect((await user.spa.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await user.spa.call('GET', '/api/me')).status).toBe(200)
  })

  it('the login makes a new session, and other tabs go on with it', async () => {
    const user = new User()
    await user.logIn()
    const tab = user.copy()
    const sidOf = ({ jar }: SessionBrowser): string | undefined => jar.get('__Host-Http-th-sid')[0]?.value
    await user.logIn({ acr_values: ACR_CONFIRMED })
    expect(sidOf(tab)).toMatch(/^[\w-]{22}$/)
    expect(sidOf(user.spa)).not.toBe(sidOf(tab))
    // A call that was on its way with the cookies from before: the access token in them runs out by itself.
    expect((await tab.call('GET', '/api/orders')).status).toBe(200)
    // A refresh that was on its way is refused; what its answer clears is not the new session's.
    const late = await tab.call('POST', '/oauth-agent/refresh')
    expect([late.status, late.json()['error_code']]).toEqual([401, 'session_expired'])
    user.spa.jar.store(`${demo.url}/oauth-agent/refresh`, late.headers.getSetCookie())
    expect((await user.spa.call('GET', '/api/me')).status).toBe(200)
    expect((await user.spa.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await user.spa.call('GET', '/oauth-agent/session')).json()['is_logged_in']).toBe(true)
  })

  it('[B-SU-02] a login that does not reach what was asked for is refused, and the session stays', async () => {
    const user = new User()
    await user.logIn()
    const weak = await user.logIn({ acr_values: 'urn:example:unknown' })
    expect([weak.status, weak.json()['error_code']]).toEqual([403, 'authentication_too_weak'])
    expect((await user.spa.call('GET', '/api/orders')).status).toBe(200)
    expect((await user.spa.call('POST', '/oauth-agent/refresh')).status).toBe(200)
  })

  it('is closed again when the authentication is too old', async () => {
    const user = new User()
    await user.logIn({ acr_values: ACR_CONFIRMED })
    expect((await user.spa.call('GET', '/api/me')).status).toBe(200)
    // From here on the authorization server's clock is behind, so no later test can log in.
    demo.clock.advanceSeconds(121)
    expect((await user.spa.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect(challengeOf(await user.spa.call('GET', '/api/me'))['max_age']).toBe('120')
  })
})
