import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  createMemoryLedger,
  generateKeyFile,
  sessionIdentity,
  type AccessCookieClaims,
  type SessionIdentity,
} from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { keptAudit } from '../support/kept-audit.ts'
import { until } from '../support/until.ts'
import { postLogoutRedirectUri, startAgent, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'
import { faultyLedger } from './faulty-ledger.ts'

let scripted: Scripted
beforeEach(async () => {
  scripted = await startScripted()
})
afterEach(() => scripted.close())

describe('logout', () => {
  it('[A-28][B-LO-02][D-CK-16] leaves no cookie, whatever was there', async () => {
    const wide = await startScripted({ cookies: { responseBudgetBytes: 16_000, headerBudgetBytes: 16_000 } })
    wide.server.tokenAnswer = { access_token: 'a'.repeat(9000) }
    const browser = await wide.loggedIn()
    await browser.post('login/start')
    const answer = await browser.post('logout')
    expect([answer.status, browser.jar.names(), browser.jar.refused]).toEqual([200, [], []])
    expect(answer.setCookies.every((line) => line.endsWith('; HttpOnly; Secure; SameSite=Strict'))).toBe(true)
    await wide.close()
  })

  it('[D-CK-17] leaves the cookies of other applications, and asks the browser to clear nothing', async () => {
    const browser = await scripted.loggedIn()
    browser.jar.store(scripted.agent.url, ['theme=dark; Path=/', '__Host-Http-other-sid=1; Path=/; Secure; HttpOnly'])
    const answer = await browser.post('logout')
    expect(browser.jar.names()).toEqual(['theme', '__Host-Http-other-sid'])
    expect(answer.headers.get('clear-site-data')).toBeNull()
  })

  it('[B-LO-03][F-CU-5] revokes the refresh token, with client authentication', async () => {
    const browser = await scripted.loggedIn()
    await browser.post('logout')
    await until('it is revoked', () => !scripted.server.hasLiveGrant)
    const call = scripted.server.calls.find(({ endpoint }) => endpoint === 'revocation')
    expect([call?.form.get('token_type_hint'), call?.authorization?.slice(0, 6)]).toEqual(['refresh_token', 'Basic '])
  })

  it('[B-LO-03] revokes the newest refresh token that its cookie leads to', async () => {
    const browser = await scripted.loggedIn()
    const old = browser.jar.snapshot()
    await browser.post('refresh')
    await browser.post('refresh')
    const newest = scripted.server.issued.filter((value) => value.startsWith('canary-refresh')).at(-1)
    browser.jar.restore(old)
    await browser.post('logout')
    await until('it is revoked', () => scripted.server.count('revocation') === 1)
    expect(scripted.server.calls.at(-1)?.form.get('token')).toBe(newest)
  })

  it('[B-LO-05] names client, page to come back to and a fresh state; never a token', async () => {
    const states = new Set<string | null>()
    for (let round = 0; round < 2; round++) {
      const browser = await scripted.loggedIn()
      const { json, ...answer } = await browser.post('logout')
      const url = new URL(String(json['logout_url']))
      expect(url.origin + url.pathname).toBe(`${scripted.server.issuer}/logout`)
      expect(Object.fromEntries(url.searchParams)).toEqual({
        theme: 'dark',
        client_id: 'scripted-client',
        post_logout_redirect_uri: postLogoutRedirectUri,
        state: expect.stringMatching(/^[\w-]{22}$/),
      })
      states.add(url.searchParams.get('state'))
      expect(scripted.leaks({ json, ...answer })).toEqual([])
    }
    expect(states.size).toBe(2)
  })

  it('[C-118] names no URL where the server has none', async () => {
    scripted.server.metadata = { end_session_endpoint: undefined }
    const browser = await scripted.loggedIn()
    expect((await browser.post('logout')).text).toBe('{}')
  })

  it('[B-LO-01] needs POST', async () => {
    const browser = await scripted.loggedIn()
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE'])
      expect((await browser.send(method, 'logout')).status).toBe(405)
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
  })

  it('[B-LO-08][F-RO-1] makes copies of the cookies worthless at once', async () => {
    const browser = await scripted.loggedIn()
    const copy = browser.jar.snapshot()
    const access = accessOf(browser)
    await browser.post('logout')
    expect(scripted.agent.ledger.rules.endOf(access)).toBe('logout')
    browser.jar.restore(copy)
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
    browser.jar.restore(copy)
    expect((await browser.post('refresh')).json['error_code']).toBe('session_expired')
    expect(scripted.server.count('token', 'refresh_token')).toBe(0)
  })

  it.each([
    ['silent', () => undefined],
    ['broken', () => ({ status: 500, body: '' })],
    ['not willing', () => ({ status: 400, body: '{"error":"unsupported_token_type"}' })],
  ])('[C-117] answers at once with the authorization server %s', async (_what, script) => {
    const browser = await scripted.loggedIn()
    scripted.server.script.revocation = script
    const startedAt = performance.now()
    expect((await browser.post('logout')).status).toBe(200)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(browser.jar.names()).toEqual([])
    await until('it was asked', () => scripted.server.count('revocation') > 0)
  })

  it('tries again to revoke when the authorization server was away', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.script.revocation = ({ standard }) =>
      scripted.server.count('revocation') < 3 ? { status: 503, body: '' } : standard()
    await browser.post('logout')
    await until('it is revoked', () => !scripted.server.hasLiveGrant)
    expect(scripted.server.count('revocation')).toBe(3)
  })

  it('works with the store away: cookies are cleared, and the session is ended as soon as it is back', async () => {
    const clock = fakeClock()
    const ledger = faultyLedger(createMemoryLedger(clock))
    const other = await startScripted({ clock, ledger: ledger.ledger })
    const browser = await other.loggedIn()
    const copy = browser.jar.snapshot()
    ledger.cut = true
    expect((await browser.post('logout')).status).toBe(200)
    expect(browser.jar.names()).toEqual([])
    ledger.cut = false
    await until('the session is ended', async () => {
      browser.jar.restore(copy)
      return (await browser.get('session')).json['is_logged_in'] === false
    })
    await until('the refresh token is revoked', () => !other.server.hasLiveGrant)
    await other.close()
  })

  it('works with cookies that no key opens any more', async () => {
    const browser = await scripted.loggedIn()
    const { server, clock } = scripted
    const agent = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock,
      ledger: scripted.agent.ledger,
      keys: generateKeyFile(new Date()),
    })
    const copy = browser.jar.snapshot()
    expect((await agent.browser(browser.jar).post('logout')).status).toBe(200)
    expect(browser.jar.names()).toEqual([])
    browser.jar.restore(copy)
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
    await agent.close()
  })

  it('fits into the budget of its answer, ID token hint and all', async () => {
    const hinting = await startScripted({ options: { logout: { idTokenHint: true } } })
    hinting.server.idToken = { claims: { padding: 'a'.repeat(400) } }
    const browser = await hinting.loggedIn()
    for (let round = 0; round < 3; round++) await browser.post('login/start')
    const { setCookies } = await browser.post('logout')
    expect(browser.jar.names()).toEqual([expect.stringContaining('-logout-')])
    expect(setCookies.reduce((sum, line) => sum + line.length + 14, 0)).toBeLessThanOrEqual(3891)
    await hinting.close()
  })
})

describe('a logout with a sid that no sealed cookie comes along with', () => {
  const sidName = '__Host-Http-th-sid'
  const made = (letter: string): string => `${sidName}=${letter.repeat(21)}A`
  const sidOf = ({ jar }: Browser): string => `${sidName}=${jar.get(sidName)[0]?.value}`
  const logOut = (cookie: string, { agent } = scripted): Promise<AgentAnswer> =>
    agent.browser().post('logout', undefined, { cookie })

  it('leaves nothing behind that anybody could pile up, and clears the cookies all the same', async () => {
    const audit = keptAudit()
    const other = await startScripted({ audit })
    const cookie = ['a', 'b', 'c', 'd'].map(made).join('; ')
    for (let round = 0; round < 3; round++) {
      const answer = await logOut(cookie, other)
      expect(answer.status).toBe(200)
      expect(answer.setCookies).toContainEqual(expect.stringMatching(/^__Host-Http-th-sid=; .*Max-Age=0/))
    }
    expect([other.agent.ledger.rules.size, audit.events]).toEqual([0, []])
    expect(other.agent.events()).not.toContain('session_ended')
    await other.close()
  })

  it('[B-LO-08] ends the session that the ledger knows by it, and records that', async () => {
    const audit = keptAudit()
    const other = await startScripted({ audit })
    const browser = await other.loggedIn()
    expect((await logOut(sidOf(browser), other)).status).toBe(200)
    expect((await browser.get('session')).json['is_logged_in']).toBe(false)
    expect(audit.events.filter(({ event }) => event === 'logout')).toMatchObject([{ outcome: 'success' }])
    await other.close()
  })

  it('[B-LO-08] ends it once the store is back, and remembers nothing of one that the store never had', async () => {
    const clock = fakeClock()
    const ledger = faultyLedger(createMemoryLedger(clock))
    const other = await startScripted({ clock, ledger: ledger.ledger })
    const browser = await other.loggedIn()
    ledger.cut = true
    expect((await logOut(`${made('a')}; ${sidOf(browser)}`, other)).status).toBe(200)
    ledger.cut = false
    await until('the session is ended', async () => (await browser.get('session')).json['is_logged_in'] === false)
    expect(other.agent.ledger.rules.size).toBe(1)
    await other.close()
  })

  it('asks the ledger only within the limit of its address, and answers 200 beyond it', async () => {
    const clock = fakeClock()
    const inner = createMemoryLedger(clock)
    const ledger = faultyLedger(inner)
    const options = { rateLimit: { requests: 2, windowSeconds: 60 } }
    const other = await startScripted({ clock, ledger: ledger.ledger, options })
    let asked = 0
    ledger.replaced.end = (session) => {
      asked += 1
      return inner.end(session)
    }
    const cookie = `${made('a')}; ${made('b')}`
    const answers = [await logOut(cookie, other), await logOut(cookie, other), await logOut(cookie, other)]
    expect(answers.map(({ status, setCookies }) => [status, setCookies.length > 0])).toEqual(
      answers.map(() => [200, true]),
    )
    expect(asked).toBe(4)
    await other.close()
  })
})

it('[B-LO-08] a logout ends a session that the ledger lost, whichever sealed cookie of it comes along', async () => {
  const { server, clock, keys } = scripted
  for (const kind of ['-rt-', '-id-']) {
    const browser = await scripted.loggedIn()
    const access = accessOf(browser)
    clock.advanceSeconds(1)
    const agent = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock,
      keys,
    })
    const sent = browser.jar.header(agent.url).split('; ')
    const cookie = sent.filter((one) => one.includes(kind) || one.includes('-sid=')).join('; ')
    expect((await agent.browser().post('logout', undefined, { cookie })).status).toBe(200)
    expect(agent.ledger.rules.endOf(access)).toBe('logout')
    expect((await agent.browser(browser.jar).get('session')).text).toBe('{"is_logged_in":false}')
    await agent.close()
  }
})

/** The session as the proxy sees it. */
function accessOf({ jar }: Browser): SessionIdentity {
  const [name = ''] = jar.names().filter((one) => one.includes('-at-'))
  const opened = scripted.agent.sealer.open<AccessCookieClaims>('access-token', jar.get(name)[0]?.value ?? '')
  if (!opened.ok) throw new Error(opened.reason)
  return sessionIdentity(opened.claims)
}

describe('logout with a logout hint', () => {
  const hintOf = async (claims: Readonly<Record<string, unknown>>): Promise<string | null> => {
    const hinting = await startScripted({ options: { logout: { idTokenHint: false, logoutHintClaim: 'login_hint' } } })
    hinting.server.idToken = { claims }
    const browser = await hinting.loggedIn()
    const { json } = await browser.post('logout')
    await hinting.close()
    return new URL(String(json['logout_url'])).searchParams.get('logout_hint')
  }

  it('names the user by the claim that is configured (OpenID Connect RP-Initiated Logout section 2)', async () => {
    expect(await hintOf({ login_hint: 'a&b=c' })).toBe('a&b=c')
  })

  it('has none where the ID token has no such claim, or one that is no text', async () => {
    expect(await hintOf({})).toBeNull()
    expect(await hintOf({ login_hint: { a: 1 } })).toBeNull()
  })
})

describe('logout with an ID token hint', () => {
  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'same-origin' }

  const startHinting = (): Promise<Scripted> => startScripted({ options: { logout: { idTokenHint: true } } })

  it('[B-LO-07][D-OR-07][G-4] goes through the agent, so that script never sees the ID token', async () => {
    const hinting = await startHinting()
    const browser = await hinting.loggedIn()
    const loggedOut = await browser.post('logout')
    expect(loggedOut.json['logout_url']).toBe('http://localhost:3000/oauth-agent/logout/continue')
    expect(hinting.leaks(loggedOut)).toEqual([])
    expect(browser.jar.names()).toEqual([expect.stringMatching(/^__Host-Http-th-logout-[\w-]{8}$/)])

    const url = new URL('logout/continue', hinting.agent.url)
    const response = await navigate(url, { ...navigation, cookie: browser.jar.header(url) })
    expect(response.statusCode).toBe(303)
    expect(response.headers['cache-control']).toBe('no-store')
    const target = new URL(response.headers.location ?? '')
    expect(target.searchParams.get('id_token_hint')).toBe(hinting.server.issued.find((value) => value.startsWith('ey')))
    browser.jar.store(url, response.headers['set-cookie'])
    expect(browser.jar.names()).toEqual([])
    await hinting.close()
  })

  it.each<[string, Record<string, string>]>([
    ['script', { ...navigation, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['a frame', { ...navigation, 'sec-fetch-dest': 'iframe' }],
    ['another site', { ...navigation, 'sec-fetch-site': 'cross-site' }],
  ])('refuses %s', async (_what, headers) => {
    const hinting = await startHinting()
    const browser = await hinting.loggedIn()
    await browser.post('logout')
    const url = new URL('logout/continue', hinting.agent.url)
    const response = await navigate(url, { ...headers, cookie: browser.jar.header(url) })
    expect([response.statusCode, response.headers.location]).toEqual([403, undefined])
    await hinting.close()
  })

  it('[D-TO-03] goes on with the ID token of the session that ended, whatever a sibling host planted', async () => {
    const hinting = await startHinting()
    const [attacker, browser] = [await hinting.loggedIn(), await hinting.loggedIn()]
    const url = new URL('logout/continue', hinting.agent.url)
    const hints = hinting.server.issued.filter((value) => value.startsWith('ey'))
    const theirs = (await attacker.post('logout')).setCookies.find((line) => line.includes('logout-')) ?? ''
    await browser.post('logout')
    // What a host beside ours can set for all of the site: no name with the prefix __Host-.
    const value = /=([^;]+)/.exec(theirs)?.[1] ?? ''
    const planted = ['a', 'b', 'c', 'd', 'e'].map((letter) => `__Secure-th-logout-${letter.repeat(8)}=${value}`)
    const cookie = [...planted, browser.jar.header(url)].join('; ')
    const response = await navigate(url, { ...navigation, cookie })
    expect(response.statusCode).toBe(303)
    expect(new URL(response.headers.location ?? '').searchParams.get('id_token_hint')).toBe(hints[1])
    await hinting.close()
  })

  it('is for GET alone, and says so', async () => {
    const hinting = await startHinting()
    const answer = await hinting.agent.browser().post('logout/continue')
    expect([answer.status, answer.headers.get('allow'), answer.json['error_code']]).toEqual([
      405,
      'GET, HEAD, OPTIONS',
      'method_not_allowed',
    ])
    await hinting.close()
  })

  it('leads nowhere without its cookie, or a minute later, and does not exist where it is not configured', async () => {
    const hinting = await startHinting()
    const browser = await hinting.loggedIn()
    await browser.post('logout')
    const url = new URL('logout/continue', hinting.agent.url)
    const cookie = browser.jar.header(url)
    expect((await navigate(url, navigation)).statusCode).toBe(400)
    // No Set-Cookie line can clear this name, which a sibling host may have planted.
    expect((await navigate(url, { ...navigation, cookie: '__Host-Http-th-logout-a b=1' })).statusCode).toBe(400)
    hinting.clock.advanceSeconds(61)
    expect((await navigate(url, { ...navigation, cookie })).statusCode).toBe(400)
    const unconfigured = new URL('logout/continue', scripted.agent.url)
    expect((await navigate(unconfigured, { ...navigation, 'token-handler-version': '1' })).statusCode).toBe(403)
    expect((await scripted.agent.browser().get('logout/continue')).status).toBe(404)
    await hinting.close()
  })
})

/** What a browser does when it is led to a URL; `fetch` sends Fetch Metadata of its own. */
async function navigate(url: URL, headers: Record<string, string>): Promise<IncomingMessage> {
  const request = get(url, { headers })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  return response
}
