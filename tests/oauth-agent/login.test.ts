import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { AccessCookieClaims } from '@token-handler/shared'
import { Canaries } from '../support/canary.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { json as jsonAnswer } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { postLogoutRedirectUri, redirectUri, startAgent, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
beforeEach(async () => {
  scripted = await startScripted()
})
afterEach(() => scripted.close())

const loginCookies = (jar: CookieJar): string[] =>
  jar.names().filter((name) => name.startsWith('__Host-Http-th-login-'))

describe('the authorization request', () => {
  it('[B-PK-01][B-PK-02][B-ST-12][A-02][C-03][C-05][C-33][C-98] is a code request with S256, state and nonce of 43 characters', async () => {
    const { json } = await scripted.agent.browser().post('login/start')
    const { searchParams, origin, pathname } = new URL(String(json['authorization_url']))
    expect(origin + pathname).toBe(`${scripted.server.issuer}/authorize`)
    expect(Object.fromEntries(searchParams)).toEqual({
      client_id: 'scripted-client',
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid profile email',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    })
  })

  it('[B-PK-03] never repeats a value', async () => {
    const seen = new Set<string>()
    for (let round = 0; round < 50; round++) {
      const { json } = await scripted.agent.browser().post('login/start')
      const { searchParams } = new URL(String(json['authorization_url']))
      for (const name of ['state', 'nonce', 'code_challenge']) seen.add(String(searchParams.get(name)))
    }
    expect(seen.size).toBe(150)
  })

  it('[B-PK-05][C-04] has the challenge of a verifier that is used once, in the token request alone', async () => {
    const challenges: unknown[] = []
    const answers: AgentAnswer[] = []
    scripted.server.script.token = ({ form, standard }) =>
      challenges.length % 2 === 0
        ? jsonAnswer(400, { error: 'invalid_request', error_description: form.get('code_verifier') })
        : standard()
    for (let round = 0; round < 8; round++) {
      const browser = scripted.agent.browser()
      const started = await browser.post('login/start')
      const url = new URL(String(started.json['authorization_url']))
      challenges.push(url.searchParams.get('code_challenge'))
      answers.push(started, await browser.post('login/end', scripted.server.authorize(url).searchParams))
      answers.push(await browser.post('refresh'), await browser.post('logout'))
    }
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 401, 502]))
    const withVerifier = scripted.server.calls.filter(({ form }) => form.has('code_verifier'))
    expect(withVerifier.map(({ form }) => form.get('grant_type'))).toEqual(challenges.map(() => 'authorization_code'))
    const verifiers = withVerifier.map(({ form }) => form.get('code_verifier') ?? '')
    expect(verifiers.map((verifier) => createHash('sha256').update(verifier).digest('base64url'))).toEqual(challenges)
    expect(new Set(verifiers).size).toBe(verifiers.length)
    const canaries = new Canaries()
    for (const verifier of verifiers) {
      expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
      expect(new Set(verifier).size).toBeGreaterThan(16)
      canaries.watch('code verifier', verifier)
    }
    const seen = answers.map(({ text, headers }) => [text, headers])
    expect(canaries.find(seen, scripted.agent.log())).toEqual([])
  })

  it.each([false, true])('[C-01] and all later ones name the registered client, pushed: %s', async (isPushed) => {
    const { server } = scripted
    if (isPushed) server.metadata = { pushed_authorization_request_endpoint: `${server.issuer}/par` }
    const browser = scripted.agent.browser()
    const started = await browser.post('login/start')
    const { searchParams } = new URL(String(started.json['authorization_url']))
    expect(searchParams.getAll('client_id')).toEqual(['scripted-client'])
    const pushed = server.calls.find(({ endpoint }) => endpoint === 'par')?.form
    expect(pushed?.getAll('client_id')).toEqual(isPushed ? ['scripted-client'] : undefined)
    const request = new URL(`${server.issuer}/authorize?${String(pushed ?? searchParams)}`)
    expect((await browser.post('login/end', server.authorize(request).searchParams)).status).toBe(200)
    expect((await browser.post('refresh')).status).toBe(200)
    const calls = server.calls.filter(({ authorization }) => authorization !== undefined)
    expect(calls).toHaveLength(isPushed ? 3 : 2)
    for (const { authorization = '', form } of calls) {
      const basic = Buffer.from(authorization.slice('Basic '.length), 'base64').toString()
      expect(decodeURIComponent(basic)).toMatch(/^scripted-client:/)
      expect(form.get('client_id') ?? 'scripted-client').toBe('scripted-client')
    }
  })

  it('[B-PR-01][B-PR-02][F-MO-18] is pushed where the server offers that, and then shows nothing but its reference', async () => {
    scripted.server.metadata = { pushed_authorization_request_endpoint: `${scripted.server.issuer}/par` }
    const { json } = await scripted.agent.browser().post('login/start', { login_hint: 'somebody' })
    const { searchParams } = new URL(String(json['authorization_url']))
    expect([...searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
    const pushed = scripted.server.calls.find(({ endpoint }) => endpoint === 'par')
    expect(pushed?.authorization).toMatch(/^Basic /)
    expect(pushed?.form.get('login_hint')).toBe('somebody')
    expect(pushed?.form.has('request_uri')).toBe(false)
  })

  it.each([400, 404, 500])('[B-PR-04] is not sent another way when pushing fails with %d', async (status) => {
    scripted.server.metadata = { pushed_authorization_request_endpoint: `${scripted.server.issuer}/par` }
    scripted.server.script.par = () => ({ status, body: '{"error":"invalid_request"}' })
    const answer = await scripted.agent.browser().post('login/start')
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'authorization_server_error'])
    expect(answer.setCookies).toEqual([])
  })

  it('[A-30][B-PR-08] carries the configured scope and resources, and so do the token requests', async () => {
    const resource = ['https://api.example.test/a', 'https://api.example.test/b']
    const other = await startScripted({ authorizationServer: { resource, scope: 'openid orders:read' } })
    const browser = other.agent.browser()
    const { callback } = await other.logIn(browser)
    expect(callback.searchParams.get('code')).not.toBeNull()
    const { json: started } = await browser.post('login/start')
    const { searchParams: asked } = new URL(String(started['authorization_url']))
    expect([asked.getAll('resource'), asked.getAll('scope')]).toEqual([resource, ['openid orders:read']])
    await browser.post('refresh')
    expect(other.server.count('token')).toBe(2)
    for (const { form } of other.server.calls.filter(({ endpoint }) => endpoint === 'token')) {
      expect(form.getAll('resource')).toEqual(resource)
    }
    await other.close()
  })

  it('[B-PR-07] carries the configured parameters, and the SPA replaces only those that are left to it', async () => {
    const authorizationParameters = { audience: 'https://api.example.test/a&b', prompt: 'login', max_age: '60' }
    const other = await startScripted({
      authorizationServer: { authorizationParameters },
      options: { authorizationParameters: ['audience'] },
    })
    const browser = other.agent.browser()
    const asked = async (fields?: Record<string, string>): Promise<unknown> => {
      const { status, json } = await browser.post('login/start', fields)
      if (status !== 200) return [status, json['error_code']]
      const { searchParams } = new URL(String(json['authorization_url']))
      return Object.fromEntries(Object.keys(authorizationParameters).map((name) => [name, searchParams.getAll(name)]))
    }
    const fixed = { audience: ['https://api.example.test/a&b'], prompt: ['login'], max_age: ['60'] }
    expect(await asked()).toEqual(fixed)
    expect(await asked({ audience: 'urn:other', login_hint: 'x' })).toEqual({ ...fixed, audience: ['urn:other'] })
    expect(await asked({ prompt: 'none' })).toEqual([400, 'invalid_request'])
    // What is asked for in every login is checked as if the SPA had asked for it.
    other.server.idToken = { claims: { auth_time: Math.floor(other.clock.now() / 1000) - 3600 } }
    expect((await other.logIn(browser)).answer.status).not.toBe(200)
    await other.close()
  })

  it('[B-TK-01][C-02] has the configured redirect URI, byte for byte, in both requests', async () => {
    const exact = 'http://LOCALHOST:3000/callback?tenant=a%2fb'
    const other = await startScripted({ authorizationServer: { redirectUri: exact } })
    const browser = other.agent.browser()
    const started = await browser.post('login/start', undefined, { 'x-forwarded-host': 'evil.test' })
    const url = new URL(String(started.json['authorization_url']))
    expect(url.searchParams.get('redirect_uri')).toBe(exact)
    const callback = other.server.authorize(url)
    const ended = await browser.post('login/end', callback.searchParams, { 'x-forwarded-host': 'evil.test' })
    expect(ended.status).toBe(200)
    expect(other.server.calls.find(({ endpoint }) => endpoint === 'token')?.form.get('redirect_uri')).toBe(exact)
    await other.close()
  })

  it('[D-CS-11] ends by the query alone: whatever address the page tells of itself changes nothing', async () => {
    const browser = scripted.agent.browser()
    const body = new URLSearchParams((await scripted.callback(browser)).searchParams)
    for (const name of ['redirect_uri', 'page_url', 'pageUrl', 'url'])
      body.set(name, 'https://user:pw@evil.test/callback#x')
    const answer = await browser.post('login/end', body, { referer: 'https://evil.test/callback' })
    expect(answer.status).toBe(200)
    const [call] = scripted.server.calls.filter(({ endpoint }) => endpoint === 'token')
    expect(call?.form.get('redirect_uri')).toBe('http://localhost:3000/callback')
    expect([...(call?.form.keys() ?? [])]).not.toContain('page_url')
  })
})

describe('a login without a refresh token', () => {
  it('succeeds, and the log says once what to do about it', async () => {
    const said = (): string[] => scripted.agent.events().filter((event) => event === 'no_refresh_token')
    await scripted.loggedIn()
    expect(said()).toEqual([])
    scripted.server.tokenAnswer = { refresh_token: undefined }
    await scripted.loggedIn()
    await scripted.loggedIn()
    expect(said()).toHaveLength(1)
    expect(scripted.agent.log()).toContain('offline_access')
  })
})

describe('pending logins', () => {
  it('[A-06][A-07][A-08][A-10][A-11] live ten minutes in a small cookie of the strictest kind', async () => {
    const { setCookies } = await scripted.agent.browser().post('login/start', {
      acr_values: 'a'.repeat(160),
      max_age: '999999999',
      scope: 'openid',
    })
    expect(setCookies).toHaveLength(1)
    expect(setCookies[0]).toMatch(
      /^__Host-Http-th-login-[\w-]{16}=[\w.-]{1,512}; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    )
  })

  it('[B-ST-05] of several tabs end in any order, each with its own secrets', async () => {
    const browser = scripted.agent.browser()
    const callbacks = [
      await scripted.callback(browser),
      await scripted.callback(browser),
      await scripted.callback(browser),
    ]
    for (const index of [1, 2, 0]) {
      expect((await browser.post('login/end', callbacks[index]?.searchParams)).status).toBe(200)
    }
    expect(loginCookies(browser.jar)).toEqual([])
  })

  it('[D-TO-09][D-CK-09] are at most three, however many were abandoned: the oldest leave', async () => {
    const browser = scripted.agent.browser()
    let last: URL | undefined
    for (let round = 0; round < 30; round++) {
      last = await scripted.callback(browser)
      scripted.clock.advanceSeconds(1)
      expect(loginCookies(browser.jar).length).toBeLessThanOrEqual(3)
    }
    expect((await browser.post('login/end', last?.searchParams)).status).toBe(200)
  })

  it('started by ten tabs at once are cleaned up by the next one', async () => {
    const browser = scripted.agent.browser()
    await Promise.all(Array.from({ length: 10 }, () => browser.post('login/start')))
    expect(loginCookies(browser.jar)).toHaveLength(10)
    const { answer } = await scripted.logIn(browser)
    expect(answer.status).toBe(200)
    expect(loginCookies(browser.jar)).toHaveLength(2)
  })

  it('[B-ST-04][E-CK-01] are over after ten minutes, whatever the browser says', async () => {
    const browser = scripted.agent.browser(new CookieJar({ now: () => 0 }))
    const callback = await scripted.callback(browser)
    scripted.clock.advanceSeconds(601)
    const answer = await browser.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'unknown_state'])
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[D-SE-03][E-DS-01] are no session, and a session cookie is no pending login', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const [login] = loginCookies(browser.jar).flatMap((name) => browser.jar.get(name))
    const other = await scripted.loggedIn()
    const rt = other.jar.names().find((name) => name.includes('-rt-')) ?? ''
    const [refreshCookie] = other.jar.get(rt)
    const asSession = `__Host-Http-th-sid=${rt.slice(-8)}AAAAAAAAAAAAAA; ${rt}=${login?.value}`
    expect((await scripted.agent.browser().get('session', { cookie: asSession })).json).toEqual({ is_logged_in: false })
    const asLogin = `${login?.name}=${refreshCookie?.value}`
    const answer = await scripted.agent.browser().post('login/end', callback.searchParams, { cookie: asLogin })
    expect(answer.json['error_code']).toBe('unknown_state')
  })
})

describe('login/end', () => {
  it('shows no page what ties an ID token to its login or names the session there, whatever is configured', async () => {
    const curious = await startScripted({ options: { idTokenClaims: ['nonce', 'at_hash', 'sid', 'name'] } })
    curious.server.idToken = { claims: { sid: 'as-session-1' } }
    const { answer } = await curious.logIn(curious.agent.browser())
    expect(answer.json['id_token_claims']).toEqual({ name: 'Søren Ångström' })
    await curious.close()
  })

  it('[D-CK-04][D-CK-13][D-CK-14][A-12][F-EN-8] sets the session cookies exactly as documented', async () => {
    const { answer } = await scripted.logIn(scripted.agent.browser())
    expect(answer.text).toBe(
      `{"is_logged_in":true,"id_token_claims":${JSON.stringify({
        sub: 'subject-1',
        name: 'Søren Ångström',
        auth_time: Math.floor(scripted.clock.now() / 1000) - 10,
      })},"access_token_expires_in":300,"access_token_lifetime":300,"session_expires_in":43200,"idle_expires_in":3600}`,
    )
    const strict = 'HttpOnly; Secure; SameSite=Strict'
    const shape = answer.setCookies.map((line) =>
      line.replace(/^([^=]+)=[\w.-]+;/, '$1=…;').replace(/-[\w-]{8}=…/, '-<tag>=…'),
    )
    expect(shape).toEqual([
      `__Host-Http-th-sid=…; Max-Age=43200; Path=/; ${strict}`,
      `__Secure-th-at-<tag>=…; Max-Age=300; Path=/api; ${strict}`,
      `__Secure-th-id-<tag>=…; Max-Age=43200; Path=/oauth-agent; ${strict}`,
      `__Secure-th-rt-<tag>=…; Max-Age=43200; Path=/oauth-agent; ${strict}`,
      expect.stringMatching(/^__Host-Http-th-login-[\w-]{16}=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970/),
    ])
    const [sid = ''] = /[\w-]{22}/.exec(answer.setCookies[0]?.split('=')[1] ?? '') ?? []
    expect(sid).toHaveLength(22)
    expect(answer.setCookies[1]).toContain(`-at-${sid.slice(0, 8)}=`)
    expect(scripted.leaks(answer)).toEqual([])
  })

  it('keeps nothing beyond the browser session where that is configured', async () => {
    const other = await startScripted({ cookies: { persistent: false } })
    const { answer } = await other.logIn(other.agent.browser())
    const kept = answer.setCookies.slice(0, 4).filter((line) => line.includes('Max-Age'))
    expect(kept).toEqual([])
    await other.close()
  })

  it.each([
    ['missing', ''],
    ['empty', 'state=&code=x'],
    ['wrong', 'state=wrong&code=x'],
    ['repeated', 'state=a&state=a&code=x'],
    ['an array', 'state[]=a&code=x'],
    ['garbled', 'state=%00&code=x'],
    ['__proto__', '__proto__=a&code=x'],
  ])(
    '[B-ST-01][C-92][D-SE-05][F-EN-3] refuses a state that is %s, without asking the authorization server',
    async (_what, body) => {
      const browser = scripted.agent.browser()
      const callback = await scripted.callback(browser)
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      const answer = await browser.post('login/end', body, headers)
      expect(answer.status).toBe(400)
      expect(answer.setCookies).toEqual([])
      expect(scripted.server.count('token')).toBe(0)
      expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
    },
  )

  it.each(['code', 'state', 'iss', 'error'])('[B-ST-07][F-MO-16] refuses a repeated %s', async (name) => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const body = new URLSearchParams(callback.searchParams)
    if (!body.has(name)) body.append(name, 'x')
    body.append(name, 'x')
    const answer = await browser.post('login/end', body)
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'invalid_request'])
    expect(scripted.server.count('token')).toBe(0)
  })

  it.each(['response', 'id_token', 'access_token'])('[A-02][C-96] refuses %s: it was not asked for', async (name) => {
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    searchParams.set(name, 'x')
    expect((await browser.post('login/end', searchParams)).json['error_code']).toBe('invalid_request')
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[C-112] ignores parameters that it does not know, and names that are dangerous elsewhere', async () => {
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    for (const [name, value] of [
      ['session_state', 'x'],
      ['authuser', '0'],
      ['authuser', '1'],
      ['__proto__', 'x'],
      ['issuer', 'https://evil.test'],
    ] as const) {
      searchParams.append(name, value)
    }
    expect((await browser.post('login/end', searchParams)).status).toBe(200)
  })

  it('[B-PK-04][D-SE-02][F-EO-4] refuses the right code and state in another browser', async () => {
    const callback = await scripted.callback(scripted.agent.browser())
    const answer = await scripted.agent.browser().post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'unknown_state'])
    expect(scripted.server.count('token')).toBe(0)
  })

  it.each<[string, (response: URLSearchParams) => void]>([
    ['without code', (response) => response.delete('code')],
    ['with an empty code', (response) => response.set('code', '')],
    ['with a code of 17 KB', (response) => response.set('code', 'a'.repeat(17_000))],
    ['with a code that has a line end', (response) => response.set('code', 'a\r\nb')],
    ['with a code beyond ASCII', (response) => response.set('code', 'ü')],
    ['with a state of 17 KB', (response) => response.set('state', 'a'.repeat(17_000))],
    ['with markup for a state', (response) => response.set('state', '<script>')],
    ['with a token in it', (response) => response.set('access_token', 'x')],
  ])('[C-112] refuses one %s, without asking the authorization server', async (_what, change) => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const changed = new URLSearchParams(callback.searchParams)
    change(changed)
    const answer = await browser.post('login/end', changed)
    expect([answer.status, answer.setCookies, scripted.server.count('token')]).toEqual([400, [], 0])
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
  })

  it('[C-112] takes no response but by POST', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    for (const method of ['GET', 'HEAD', 'PUT']) {
      const body = method === 'PUT' ? callback.searchParams : undefined
      expect((await browser.send(method, `login/end${callback.search}`, body)).status).toBe(405)
    }
    expect(scripted.server.count('token')).toBe(0)
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
  })

  it('[D-SE-04][F-RO-2] gives the session of a login that just ended to nobody who only knows its state', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
    const stranger = scripted.agent.browser()
    await scripted.callback(stranger)
    const answer = await stranger.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([400, 'unknown_state', []])
    expect(scripted.server.count('token')).toBe(1)
  })

  it('[F-AJ-1] finishes no login that began at another authorization server, or for another client', async () => {
    const { keys, clock, server } = scripted
    const elsewhere = await startScripted({ keys, clock })
    const other = await startScripted({ keys, clock, issuer: server.issuer, clientId: 'other-client' })
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    for (const { agent } of [elsewhere, other]) {
      const answer = await agent.browser().post('login/end', callback.searchParams, { cookie })
      expect([answer.status, answer.json['error_code']]).toEqual([400, 'unknown_state'])
    }
    expect([server, elsewhere.server].map((one) => one.count('token'))).toEqual([0, 0])
    await elsewhere.close()
    await other.close()
  })

  it('[B-PK-04][B-ST-01] refuses a state whose pending login is another one under its name', async () => {
    const browser = scripted.agent.browser()
    await scripted.callback(browser)
    const [own] = loginCookies(browser.jar).flatMap((name) => browser.jar.get(name))
    const attacker = scripted.agent.browser()
    const callback = await scripted.callback(attacker)
    const cookie = `${loginCookies(attacker.jar)[0]}=${own?.value}`
    const answer = await browser.post('login/end', callback.searchParams, { cookie })
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'unknown_state'])
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[B-PK-06] trusts no server to look at the challenge: the state is demanded without any word of PKCE', async () => {
    scripted.server.metadata = { code_challenge_methods_supported: undefined }
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    const stolen = (await scripted.callback(scripted.agent.browser())).searchParams
    for (const state of [undefined, '', 'wrong', stolen.get('state') ?? '']) {
      const response = new URLSearchParams(searchParams)
      response.delete('state')
      if (state !== undefined) response.set('state', state)
      expect([state, (await browser.post('login/end', response)).status]).toEqual([state, 400])
    }
    expect(scripted.server.count('token')).toBe(0)
    expect((await browser.post('login/end', searchParams)).status).toBe(200)
  })

  it('[C-72] keeps nothing of a session_state, in no cookie and no answer', async () => {
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    searchParams.set('session_state', 'canary-session-state')
    const ended = await browser.post('login/end', searchParams)
    const session = await browser.get('session')
    expect([ended.status, session.json['is_logged_in']]).toEqual([200, true])
    const canaries = new Canaries()
    canaries.watch('session_state', 'canary-session-state')
    expect(canaries.find(ended.text, ended.headers, session.text, scripted.agent.log())).toEqual([])
    expect(ended.setCookies.every((line) => line.includes('; HttpOnly'))).toBe(true)
  })

  it('[C-48] ends with login_required where a silent login found nobody, and tries nothing else', async () => {
    const browser = scripted.agent.browser()
    const started = await browser.post('login/start', { prompt: 'none', max_age: '0' })
    const url = new URL(String(started.json['authorization_url']))
    expect([url.searchParams.get('prompt'), url.searchParams.get('max_age')]).toEqual(['none', '0'])
    const state = url.searchParams.get('state') ?? ''
    const response = { error: 'login_required', state, iss: scripted.server.issuer }
    const answer = await browser.post('login/end', response)
    expect([answer.status, answer.text]).toEqual([400, '{"error_code":"login_required"}'])
    expect(browser.jar.names()).toEqual([])
    expect(scripted.server.calls.every(({ endpoint }) => endpoint === 'discovery')).toBe(true)
  })

  it('[B-ID-18][C-35] shows the claims that are configured, whatever else the ID token tells of the user', async () => {
    const personal = {
      email: 'soren@example.test',
      email_verified: true,
      phone_number: '+45 12345678',
      address: { formatted: 'Nyhavn 1' },
      birthdate: '1970-01-01',
      gender: 'male',
    }
    scripted.server.idToken = { claims: personal }
    const browser = scripted.agent.browser()
    const { answer } = await scripted.logIn(browser)
    const shown = {
      sub: 'subject-1',
      name: 'Søren Ångström',
      email: personal.email,
      auth_time: Math.floor(scripted.clock.now() / 1000) - 10,
    }
    expect(answer.json['id_token_claims']).toEqual(shown)
    const refreshed = await browser.post('refresh')
    const session = await browser.get('session')
    expect(session.json['id_token_claims']).toEqual(shown)
    for (const { text } of [answer, refreshed, session]) expect(text).not.toMatch(/Nyhavn|12345678|1970|male/)
  })

  it('[B-ISS-02][C-90][C-91] refuses a missing or foreign issuer before the code is sent, and ends that login', async () => {
    for (const iss of [undefined, 'https://evil.test', `${scripted.server.issuer}/`]) {
      const browser = scripted.agent.browser()
      const { searchParams } = await scripted.callback(browser)
      searchParams.delete('iss')
      if (iss !== undefined) searchParams.set('iss', iss)
      const answer = await browser.post('login/end', searchParams)
      expect([answer.status, answer.json['error_code']]).toEqual([400, 'invalid_request'])
      expect(loginCookies(browser.jar)).toEqual([])
    }
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[B-ISS-03] demands the issuer where configured, whatever the metadata says', async () => {
    const other = await startScripted({ authorizationServer: { requireIss: true } })
    other.server.metadata = { authorization_response_iss_parameter_supported: undefined }
    const browser = other.agent.browser()
    const { searchParams } = await other.callback(browser)
    searchParams.delete('iss')
    expect((await browser.post('login/end', searchParams)).json['error_code']).toBe('invalid_request')
    await other.close()
  })

  it.each([
    ['access_denied', 400, 'access_denied'],
    ['login_required', 400, 'login_required'],
    ['consent_required', 400, 'interaction_required'],
    ['temporarily_unavailable', 400, 'authorization_error'],
    ['<script>alert(1)</script>', 400, 'authorization_error'],
    ['constructor', 400, 'authorization_error'],
  ])(
    '[B-ST-06][B-ST-09][F-NA-1] turns the error %s into a code of ours, a code beside it or not',
    async (error, status, code) => {
      const browser = scripted.agent.browser()
      const { searchParams } = await scripted.callback(browser)
      searchParams.set('error', error)
      searchParams.set('error_description', '<img src=x onerror=alert(1)>\r\nSet-Cookie: a=b')
      const answer = await browser.post('login/end', searchParams)
      expect([answer.status, answer.text]).toEqual([status, JSON.stringify({ error_code: code })])
      expect(loginCookies(browser.jar)).toEqual([])
      expect(scripted.server.count('token')).toBe(0)
      expect(scripted.agent.log()).not.toContain('onerror')
    },
  )

  it('[B-ST-08] says nothing of an error whose state it does not know, and clears no other login', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const answer = await browser.post('login/end', { error: 'access_denied', error_description: 'x', state: 'foreign' })
    expect([answer.status, answer.text]).toEqual([400, '{"error_code":"unknown_state"}'])
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
  })

  it('[B-ST-08] believes no error whose issuer is missing or foreign', async () => {
    for (const iss of [undefined, 'https://evil.test', `${scripted.server.issuer}/`]) {
      const browser = scripted.agent.browser()
      const { searchParams } = await scripted.callback(browser)
      const state = searchParams.get('state') ?? ''
      const response = { error: 'access_denied', state, ...(iss === undefined ? {} : { iss }) }
      const answer = await browser.post('login/end', response)
      expect([iss, answer.status, answer.json['error_code']]).toEqual([iss, 400, 'invalid_request'])
    }
  })

  it('answers an unknown state with the live session of this browser, and redeems nothing', async () => {
    const browser = scripted.agent.browser()
    const { callback } = await scripted.logIn(browser)
    const pending = await scripted.callback(browser)
    const again = await browser.post('login/end', callback.searchParams)
    expect([again.status, again.json['is_logged_in'], again.setCookies]).toEqual([200, true, []])
    expect(scripted.server.count('token')).toBe(1)
    expect((await browser.post('login/end', pending.searchParams)).status).toBe(200)
  })

  it('[B-ST-02] redeems a code once, however often and fast it is posted, and every post gets the same session', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    const posts = await Promise.all(
      Array.from({ length: 20 }, () => browser.post('login/end', callback.searchParams, { cookie })),
    )
    scripted.clock.advanceSeconds(50)
    posts.push(await browser.post('login/end', callback.searchParams, { cookie }))
    expect(posts.map(({ status }) => status)).toEqual(Array.from({ length: 21 }, () => 200))
    expect(new Set(posts.map(({ setCookies }) => setCookies[0]?.slice(0, 41))).size).toBe(1)
    expect(scripted.server.count('token')).toBe(1)
  })

  it('[B-ST-02] gives nothing for a login cookie that is shown again later, or after logout', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    await browser.post('login/end', callback.searchParams)
    await browser.post('logout')
    const afterLogout = await browser.post('login/end', callback.searchParams, { cookie })
    expect(afterLogout.json['error_code']).toBe('unknown_state')
    scripted.clock.advanceSeconds(61)
    const late = await browser.post('login/end', callback.searchParams, { cookie })
    expect(late.json['error_code']).toBe('unknown_state')
    expect(scripted.server.count('token')).toBe(1)
  })

  it('gives the newest cookies when the session was refreshed before the login end is repeated', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    await browser.post('login/end', callback.searchParams)
    await browser.post('refresh')
    const repeated = await browser.post('login/end', callback.searchParams, { cookie })
    expect(repeated.status).toBe(200)
    expect((await browser.post('refresh')).status).toBe(200)
    expect(scripted.server.hasLiveGrant).toBe(true)
  })

  it('works on any replica: the second one waits for the first and gives the same session', async () => {
    const { server, agent, clock, keys } = scripted
    const common = {
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret } as const,
      clock,
      keys,
      ledger: agent.ledger,
    }
    const replicas = [await startAgent(common), await startAgent(common)] as const
    const jar = new CookieJar({ now: () => clock.now() })
    const started = await replicas[0].browser(jar).post('login/start')
    const callback = server.authorize(String(started.json['authorization_url']))
    const posts = await Promise.all(replicas.map((one) => one.browser(jar).post('login/end', callback.searchParams)))
    expect(posts.map(({ status }) => status)).toEqual([200, 200])
    expect(server.count('token')).toBe(1)
    await Promise.all(replicas.map((one) => one.close()))
  })

  it('[G-8][D-LIM-06] never redeems a code twice when the answer is lost: the user starts again', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    scripted.server.script.token = async ({ standard, res }) => {
      await standard()
      res.destroy()
    }
    const answer = await browser.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'authorization_server_error'])
    expect(loginCookies(browser.jar)).toEqual([])
    scripted.server.script = {}
    const again = await browser.post('login/end', callback.searchParams, { cookie })
    expect(again.json['error_code']).toBe('unknown_state')
    expect(scripted.server.count('token')).toBe(1)
  })

  it('[D-LIM-05][F-EN-7] goes on when the browser hangs up, so that a repeated post finds the session', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    const cookie = browser.jar.header(scripted.agent.url)
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      await gate.promise
      return standard()
    }
    const hangUp = new AbortController()
    const post = fetch(new URL('login/end', scripted.agent.url), {
      method: 'POST',
      headers: { 'token-handler-version': '1', origin: 'http://localhost:3000', cookie },
      body: callback.searchParams,
      signal: hangUp.signal,
    }).catch(() => undefined)
    await until('the code is sent', () => scripted.server.count('token') === 1)
    hangUp.abort()
    await post
    gate.resolve()
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
    expect(scripted.server.count('token')).toBe(1)
  })
})

describe('a login over a session', () => {
  it('[D-SE-01][F-EO-1][F-OP-6] gets a new session id; the old session ends softly', async () => {
    const browser = await scripted.loggedIn()
    const before = browser.jar.snapshot()
    const names = (kind: string): string[] => browser.jar.names().filter((name) => name.includes(kind))
    const [oldAccess = '', oldRefresh = ''] = [...names('-at-'), ...names('-rt-')]
    const oldToken = scripted.server.issued.find((value) => value.startsWith('canary-refresh')) ?? ''
    scripted.server.idToken = { claims: { sid: 'as-session-2' } }
    const { answer } = await scripted.logIn(browser)
    expect(answer.status).toBe(200)
    expect(names('-rt-')).toHaveLength(1)
    expect(names('-rt-')).not.toContain(oldRefresh)
    expect(names('-id-')).toHaveLength(1)
    expect(names('-at-')).toHaveLength(1)
    expect(names('-at-')).not.toContain(oldAccess)
    await until('the old refresh token is revoked', () => scripted.server.isRevoked(oldToken))
    const thief = scripted.agent.browser()
    thief.jar.restore(before)
    expect((await thief.get('session')).json).toEqual({ is_logged_in: false })
  })

  it('[B-SU-03] by somebody else shows that user, and opens nothing of the one before', async () => {
    const browser = await scripted.loggedIn()
    const before = browser.jar.snapshot()
    scripted.server.subject = 'subject-2'
    scripted.server.idToken = { claims: { acr: 'mfa', sid: 'as-session-2' } }
    const { answer } = await scripted.logIn(browser, { acr_values: 'mfa' })
    for (const { json: shown } of [answer, await browser.get('session')]) {
      expect(shown['id_token_claims']).toMatchObject({ sub: 'subject-2', acr: 'mfa' })
    }
    await until('the session before it is over', () => scripted.server.count('revocation') === 1)
    const copy = scripted.agent.browser()
    copy.jar.restore(before)
    expect((await copy.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it('[D-SE-06] that fails leaves the session as it was', async () => {
    const browser = await scripted.loggedIn()
    const callback = await scripted.callback(browser)
    scripted.server.script.token = () => ({ status: 500, body: '' })
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(502)
    scripted.server.script = {}
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    expect((await browser.post('refresh')).status).toBe(200)
  })
})

describe('what a login asked for', () => {
  it('[B-TK-10] is what was granted where the answer does not say, and never more', async () => {
    const { sealer } = scripted.agent
    scripted.server.tokenAnswer = { scope: undefined }
    for (const [asked, granted] of [
      [undefined, 'openid profile email'],
      ['openid', 'openid'],
      [`openid ${'a'.repeat(300)}`, undefined],
    ] as const) {
      const browser = scripted.agent.browser()
      await scripted.logIn(browser, asked === undefined ? {} : { scope: asked })
      const [name = ''] = browser.jar.names().filter((one) => one.includes('-at-'))
      const opened = sealer.open<AccessCookieClaims>('access-token', browser.jar.get(name)[0]?.value ?? '')
      expect([asked, opened.ok && opened.claims.scope]).toEqual([asked, granted])
      await browser.post('refresh')
    }
  })

  it.each([
    ['', undefined],
    [' ', undefined],
    [1, undefined],
    [['openid', 'profile'], undefined],
    ['openid "profile"', undefined],
    ['openid\nprofile', undefined],
    [' openid  profile ', 'openid profile'],
    ['profile openid', 'profile openid'],
    [null, 'openid profile email'],
  ])('[B-TK-10] is not taken for granted where the answer says %j', async (scope, granted) => {
    const { sealer } = scripted.agent
    const grantedTo = ({ jar }: Browser): unknown => {
      const [name = ''] = jar.names().filter((one) => one.includes('-at-'))
      const opened = sealer.open<AccessCookieClaims>('access-token', jar.get(name)[0]?.value ?? '')
      return opened.ok && opened.claims.scope
    }
    const before = scripted.agent.browser()
    scripted.server.tokenAnswer = { scope: undefined }
    await scripted.logIn(before)
    scripted.server.tokenAnswer = { scope }
    expect(grantedTo(await scripted.loggedIn())).toBe(granted)
    expect((await before.post('refresh')).status).toBe(200)
    expect(grantedTo(before)).toBe(granted)
  })

  it('[B-ID-11][F-NA-6] is checked: max_age demands a fresh auth_time', async () => {
    for (const [authTime, status] of [
      [-10, 200],
      [-100, 403],
      [undefined, 403],
    ] as const) {
      const now = Math.floor(scripted.clock.now() / 1000)
      scripted.server.idToken = { claims: { auth_time: authTime === undefined ? undefined : now + authTime } }
      const { answer } = await scripted.logIn(scripted.agent.browser(), { max_age: '60' })
      expect([authTime, answer.status]).toEqual([authTime, status])
    }
  })

  it('[B-ID-12][B-SU-02] is checked: acr_values demand one of them', async () => {
    for (const [acr, status] of [
      ['mfa', 200],
      ['hardware', 200],
      ['pwd', 403],
      [undefined, 403],
    ] as const) {
      scripted.server.idToken = { claims: { acr } }
      const { answer } = await scripted.logIn(scripted.agent.browser(), { acr_values: 'mfa hardware' })
      expect([acr, answer.status]).toEqual([acr, status])
    }
    expect((await scripted.agent.browser().get('session')).json).toEqual({ is_logged_in: false })
    await until('refused tokens are revoked', () => scripted.server.count('revocation') >= 4)
  })
})

describe('without the authorization server', () => {
  it('the agent starts, says so, and works as soon as the server is there', async () => {
    const { server } = scripted
    let isUp = false
    server.script.discovery = ({ standard }) => (isUp ? standard() : { status: 503, body: '' })
    const agent = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock: scripted.clock,
    })
    expect(agent.agent.ready()).toEqual({ ready: false, authorizationServer: 'unknown' })
    agent.agent.start()
    await until('discovery failed', () => agent.agent.ready().authorizationServer === 'unavailable')
    expect((await agent.browser().post('login/start')).json['error_code']).toBe('authorization_server_error')
    expect((await agent.browser().get('session')).text).toBe('{"is_logged_in":false}')
    expect((await agent.browser().post('logout')).text).toBe('{}')
    isUp = true
    await until('discovery works', () => agent.agent.ready().ready)
    expect((await agent.browser().post('login/start')).status).toBe(200)
    expect(agent.agent.ready()).toEqual({ ready: true, authorizationServer: 'ok' })
    await agent.close()
  })

  it('a callback keeps its pending login, and can be posted again', async () => {
    const { server } = scripted
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    server.script.discovery = () => ({ status: 503, body: '' })
    const other = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock: scripted.clock,
      keys: scripted.keys,
    })
    const failed = await other.browser(browser.jar).post('login/end', callback.searchParams)
    expect([failed.status, failed.headers.get('retry-after'), failed.setCookies]).toEqual([502, '5', []])
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
    await other.close()
  })
})

describe('budgets', () => {
  it('[D-CK-05][C-114] refuse a login whose tokens do not fit, before anything is set, and revoke the tokens', async () => {
    scripted.server.tokenAnswer = { access_token: 'a'.repeat(4000) }
    const browser = scripted.agent.browser()
    const { answer } = await scripted.logIn(browser)
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'token_too_large'])
    expect(answer.setCookies.filter((line) => !line.includes('Max-Age=0'))).toEqual([])
    expect(browser.jar.names()).toEqual([])
    await until('the tokens are revoked', () => !scripted.server.hasLiveGrant)
    expect(scripted.agent.log()).toMatch(/"event":"token_too_large".*Set-Cookie \d+ of 3891 bytes/)
  })

  it('[C-114][D-CK-04][D-CK-10] allow what they say: every session that is granted works', async () => {
    const other = await startScripted({ cookies: { responseBudgetBytes: 16_000, headerBudgetBytes: 7168 } })
    const seen = new Set<number>()
    for (let size = 400; size <= 5600; size += 400) {
      other.server.tokenAnswer = { access_token: 'a'.repeat(size) }
      const browser = other.agent.browser()
      const { answer } = await other.logIn(browser)
      seen.add(answer.status)
      expect(browser.jar.refused).toEqual([])
      if (answer.status !== 200) continue
      expect(browser.jar.header(new URL('/api/x', other.agent.url)).length).toBeLessThanOrEqual(7168)
      expect((await browser.post('refresh')).status).toBe(200)
      expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    }
    expect([...seen]).toEqual([200, 502])
    await other.close()
  })

  it('count the whole answer, leftovers to be cleared and all: it never exceeds the response budget', async () => {
    const sizes: number[] = []
    for (let size = 800; size < 1800; size += 100) {
      scripted.server.tokenAnswer = { access_token: 'a'.repeat(size) }
      const browser = scripted.agent.browser()
      const leftovers = Array.from(
        { length: 8 },
        (_, index) => `__Secure-th-rt-leftove${index}=x; Path=/oauth-agent; Secure`,
      )
      browser.jar.store(scripted.agent.url, leftovers)
      const { answer } = await scripted.logIn(browser)
      if (answer.status === 200) sizes.push(answer.setCookies.reduce((sum, line) => sum + line.length + 14, 0))
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(3891)
    expect(Math.max(...sizes)).toBeGreaterThan(3700)
  })
})

it('[B-TK-07][C-93] survives every shape of expires_in', async () => {
  for (const [value, seconds] of [
    [undefined, 300],
    [0, 300],
    [-5, 300],
    ['text', 300],
    [null, 300],
    [{}, 300],
    ['120', 120],
    [59.9, 59],
    [1e12, 900],
    [1e300, 900],
  ] as const) {
    scripted.server.tokenAnswer = { expires_in: value }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    expect([value, answer.status, answer.json['access_token_expires_in']]).toEqual([value, 200, seconds])
    expect(answer.setCookies[1]).toContain(`Max-Age=${seconds};`)
  }
})

it('sends the browser on to the configured page after logout', async () => {
  const browser = await scripted.loggedIn()
  const { json } = await browser.post('logout')
  expect(new URL(String(json['logout_url'])).searchParams.get('post_logout_redirect_uri')).toBe(postLogoutRedirectUri)
})
