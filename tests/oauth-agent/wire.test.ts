import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import express from 'express'
import { sendRaw } from './raw.ts'
import { trustedOrigin, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
let browser: Browser

beforeAll(async () => {
  scripted = await startScripted({ options: { authorizationParameters: ['claims'], refreshParameters: ['audience'] } })
  browser = scripted.agent.browser()
})
afterAll(() => scripted.close())

const routes = [
  ['POST', 'login/start'],
  ['POST', 'login/end'],
  ['GET', 'session'],
  ['POST', 'refresh'],
  ['POST', 'logout'],
] as const

describe('the guards', () => {
  it.each(routes)(
    '[A-13][A-15] %s %s is refused without the header, whatever the content type',
    async (method, path) => {
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
        const headers = { 'token-handler-version': '', 'content-type': type }
        const answer = await browser.send(method, path, method === 'GET' ? undefined : '', headers)
        expect([answer.status, answer.json['error_code']]).toEqual([403, 'missing_header'])
      }
    },
  )

  it.each(routes)('[A-14][D-CS-03] %s %s is refused from any origin but the exact one', async (method, path) => {
    for (const origin of [
      'null',
      'http://localhost:3001',
      'https://localhost:3000',
      'http://localhost:3000.evil.test',
      'http://LOCALHOST:3000',
      'http://localhost:3000, http://localhost:3000',
    ]) {
      const answer = await browser.send(method, path, undefined, { origin })
      expect([answer.status, answer.json['error_code']]).toEqual([403, 'untrusted_origin'])
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    }
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[A-16] approves preflights of the trusted origin only, and reflects nothing', async () => {
    const ask = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'token-handler-version' }
    const good = await browser.send('OPTIONS', 'login/start', undefined, { ...ask, 'token-handler-version': '' })
    expect(good.status).toBe(204)
    expect(good.headers.get('access-control-allow-origin')).toBe(trustedOrigin)
    expect(good.headers.get('access-control-allow-credentials')).toBe('true')
    expect(good.headers.get('access-control-allow-headers')).toBe('token-handler-version')
    const bad = await browser.send('OPTIONS', 'login/start', undefined, { ...ask, origin: 'https://evil.test' })
    expect(bad.status).toBe(403)
    expect(bad.headers.get('access-control-allow-origin')).toBeNull()
    expect(bad.headers.get('vary')).toContain('Origin')
  })

  it('[D-CS-08] lets the SPA of another origin read errors', async () => {
    const answer = await browser.post('refresh')
    expect(answer.status).toBe(401)
    expect(answer.headers.get('access-control-allow-origin')).toBe(trustedOrigin)
    expect(answer.headers.get('access-control-allow-credentials')).toBe('true')
  })
})

describe('answers', () => {
  it('[D-SEC-01][D-SEC-02][D-SEC-06][D-CA-01] all carry the same protection, errors too', async () => {
    const answers = [
      await browser.get('session'),
      await browser.get('session', { 'if-none-match': '*' }),
      await browser.get('nowhere'),
      await browser.get('login/start'),
      await browser.post('refresh'),
      await browser.post('login/end', '{', { 'content-type': 'application/json' }),
      await browser.post('login/start', '<a>', { 'content-type': 'text/html' }),
      await browser.get('session', { 'token-handler-version': '' }),
      await browser.get('%zz'),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 405, 401, 400, 415, 403, 404])
    for (const { headers } of answers) {
      expect(headers.get('content-type')).toBe('application/json')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'")
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('x-powered-by')).toBeNull()
      expect(headers.get('etag')).toBeNull()
      expect(headers.get('strict-transport-security')).toBeNull()
    }
    for (const { status, json, text } of answers.filter((one) => one.status >= 400)) {
      expect([status, Object.keys(json)]).toEqual([status, ['error_code']])
      expect(text).not.toMatch(/node_modules|at |Error/)
    }
  })

  it('[D-CA-03][F-NA-4] that set or delete a cookie are never stored, whatever the request says of caches', async () => {
    const asked = { 'cache-control': 'max-stale', 'if-none-match': '*' }
    const visitor = scripted.agent.browser()
    const started = await visitor.post('login/start', undefined, asked)
    const callback = scripted.server.authorize(String(started.json['authorization_url']))
    const ended = await visitor.post('login/end', callback.searchParams, asked)
    const refreshed = await visitor.post('refresh', undefined, asked)
    const copy = visitor.jar.header(scripted.agent.url)
    const loggedOut = await visitor.post('logout', undefined, asked)
    const over = await visitor.get('session', { ...asked, cookie: copy })
    const refused = await visitor.post('refresh', undefined, { ...asked, cookie: copy })
    for (const { status, headers, setCookies } of [started, ended, refreshed, loggedOut, over, refused]) {
      expect([status, setCookies.length > 0, headers.get('cache-control')]).toEqual([status, true, 'no-store'])
      expect([headers.get('etag'), headers.get('expires')]).toEqual([null, null])
    }
    expect([over.text, refused.status]).toEqual(['{"is_logged_in":false}', 401])
  })

  it('[D-SEC-08][F-MO-3][F-NA-1] are never HTML and show nothing of the request', async () => {
    const markup = '<img src=x onerror=alert(1)>"\'&'
    const detailed = await startScripted({ options: { detailedErrors: true } })
    const { searchParams } = await detailed.callback(detailed.agent.browser())
    const fields = [...searchParams.keys(), 'error', 'error_description', 'error_uri', 'response', 'prompt', markup]
    for (const path of ['login/start', 'login/end', 'refresh', 'logout', encodeURIComponent(markup)]) {
      for (const name of fields) {
        for (const type of ['application/x-www-form-urlencoded', 'application/json', 'text/html']) {
          const body = type.endsWith('json')
            ? JSON.stringify({ [name]: markup })
            : `${new URLSearchParams({ [name]: markup })}`
          const query = `?${new URLSearchParams({ [name]: markup })}`
          const answer = await detailed.agent.browser().post(path + query, body, { 'content-type': type })
          expect(answer.headers.get('content-type')).toBe('application/json')
          expect(answer.text + [...answer.headers].join()).not.toMatch(/onerror|<img|%3Cimg/)
        }
      }
    }
    await detailed.close()
  })

  it('[D-SEC-03] ask for https on this host from then on where the public origin has it', async () => {
    const secure = await startScripted({ publicOrigin: 'https://www.example.test' })
    const answer = await secure.agent.browser().get('session')
    expect(answer.headers.get('strict-transport-security')).toBe('max-age=63072000')
    await secure.close()
  })

  it('name the allowed methods with 405', async () => {
    for (const [method, path, allow] of [
      ['GET', 'login/start', 'POST, OPTIONS'],
      ['PUT', 'login/end', 'POST, OPTIONS'],
      ['DELETE', 'session', 'GET, HEAD, OPTIONS'],
      ['GET', 'logout', 'POST, OPTIONS'],
      ['GET', 'refresh', 'POST, OPTIONS'],
    ] as const) {
      const answer = await browser.send(method, path)
      expect([answer.status, answer.json['error_code'], answer.headers.get('allow')]).toEqual([
        405,
        'method_not_allowed',
        allow,
      ])
    }
  })

  it('know paths exactly: case, slashes and dots lead nowhere', async () => {
    for (const path of ['Session', 'session/', './/session', 'login', 'session%2f', 'session;x']) {
      expect((await browser.get(path)).status).toBe(404)
    }
  })

  it('tell nothing about a session to who has no cookies, and that is no error', async () => {
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it('to logout are good without any session', async () => {
    await browser.post('login/start')
    const answer = await scripted.agent.browser().post('logout')
    expect(answer.status).toBe(200)
    expect(String(answer.json['logout_url'])).toContain('/logout?theme=dark&client_id=scripted-client')
  })

  it('say why only where that is configured', async () => {
    const detailed = await startScripted({ options: { detailedErrors: true } })
    const answer = await detailed.agent.browser().post('login/end', { code: 'x' })
    expect(answer.text).toBe('{"error_code":"invalid_request","detailed_error":"The parameter state is missing."}')
    await detailed.close()
  })
})

describe('routes', () => {
  it('[B-FA-02] start no login but for the SPA', async () => {
    const before = scripted.server.calls.length
    for (const [method, status, headers] of [
      ['POST', 403, { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }],
      ['POST', 403, { origin: 'null' }],
      ['POST', 403, { 'token-handler-version': '', 'content-type': 'application/x-www-form-urlencoded' }],
      ['POST', 403, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }],
      ['GET', 403, { 'token-handler-version': '', 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'image' }],
      ['GET', 405, {}],
    ] as const) {
      const answer = await browser.send(method, 'login/start', undefined, headers)
      expect([answer.status, answer.setCookies, answer.json['authorization_url']]).toEqual([status, [], undefined])
    }
    expect(scripted.server.calls).toHaveLength(before)
  })

  it('[C-45][C-52] look for no other issuer, and start no login that another site asks for', async () => {
    const before = scripted.server.calls.length
    const asked = { iss: 'https://evil.test', login_hint: 'x', target_link_uri: 'https://evil.test/' }
    const query = `?${String(new URLSearchParams(asked))}`
    const webfinger = '?resource=acct:x@evil.test&rel=http://openid.net/specs/connect/1.0/issuer'
    for (const path of [
      `login${query}`,
      `login/initiate${query}`,
      `initiate-login${query}`,
      `webfinger${webfinger}`,
      `/.well-known/webfinger${webfinger}`,
      'register',
    ]) {
      for (const method of ['GET', 'POST']) {
        const answer = await browser.send(method, path)
        expect([method, path, answer.status, answer.headers.get('location')]).toEqual([method, path, 404, null])
      }
    }
    expect((await browser.get(`login/start${query}`)).status).toBe(405)
    expect((await browser.post('login/start', asked)).status).toBe(400)
    expect(scripted.server.calls).toHaveLength(before)
  })

  it('[A-05] hand no access token to the SPA, by whatever method they are asked', async () => {
    const own = await startScripted({ options: { logout: { idTokenHint: true } } })
    const user = await own.loggedIn()
    const kept = user.jar.snapshot()
    const paths = [
      ...routes.map(([, path]) => path),
      'logout/continue',
      'backchannel-logout',
      'jwks.json',
      'token',
      'userinfo',
      '',
    ]
    const answers: AgentAnswer[] = []
    for (const path of paths) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        user.jar.restore(kept)
        answers.push(await user.send(method, path))
      }
    }
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(4)
    expect(own.server.count('token', 'refresh_token')).toBe(1)
    expect(own.leaks(...answers)).toEqual([])
    await own.close()
  })
})

describe('request bodies', () => {
  it('are form fields or a flat JSON object, with or without charset, or nothing at all', async () => {
    for (const [body, type] of [
      ['prompt=login', 'application/x-www-form-urlencoded'],
      ['prompt=login', 'Application/X-WWW-Form-URLEncoded; charset=UTF-8'],
      ['{"prompt":"login"}', 'application/json;charset=utf-8'],
    ] as const) {
      const answer = await browser.post('login/start', body, { 'content-type': type })
      expect(new URL(String(answer.json['authorization_url'])).searchParams.get('prompt')).toBe('login')
    }
    for (const type of ['', 'application/x-www-form-urlencoded;charset=UTF-8', 'text/plain']) {
      expect((await browser.post('login/start', '', { 'content-type': type })).status).toBe(200)
    }
  })

  it.each([
    [415, 'plain text', 'a=b', 'text/plain'],
    [415, 'multipart', 'a=b', 'multipart/form-data; boundary=x'],
    [415, 'two types', '{}', 'application/json, text/plain'],
    [415, 'nearly JSON', '{}', 'text/json'],
    [415, 'a type with an empty parameter', '{}', 'application/json\t;'],
    [415, 'another charset', 'a=b', 'application/x-www-form-urlencoded; charset=utf-16'],
    [400, 'half JSON', '{', 'application/json'],
    [400, 'an array', '[]', 'application/json'],
    [400, 'null', 'null', 'application/json'],
    [400, 'a number', '{"prompt":1}', 'application/json'],
    [400, 'a nested array', '{"prompt":["login"]}', 'application/json'],
    [400, 'a repeated JSON member', '{"prompt":"login","prompt":"none"}', 'application/json'],
    [400, 'a broken escape', 'prompt=%zz', 'application/x-www-form-urlencoded'],
    [400, 'an escape that is no UTF-8', 'prompt=%ff', 'application/x-www-form-urlencoded'],
    [400, 'too many parameters', 'a=&'.repeat(5000), 'application/x-www-form-urlencoded'],
    [413, 'too long', `prompt=${'a'.repeat(20_000)}`, 'application/x-www-form-urlencoded'],
  ])('[D-LIM-02][D-CS-05][F-FA-3] are answered %d: %s', async (status, _what, body, type) => {
    const answer = await browser.post('login/start', body, { 'content-type': type })
    expect(answer.status).toBe(status)
  })

  it.each([
    ['nested deeply', `{"prompt":${'['.repeat(7000)}${']'.repeat(7000)}}`],
    ['nested deeply in a member that nobody asked for', `{"x":${'{"a":'.repeat(2500)}1${'}'.repeat(2500)}}`],
    ['a prototype', '{"__proto__":{"prompt":"login"}}'],
    ['a constructor', '{"constructor":{"prototype":{"prompt":"login"}}}'],
    ['a huge number', '{"max_age":1e999}'],
    ['half a character', '{"login_hint":"\\ud800"}'],
    ['hundreds of members', JSON.stringify(Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`a${i}`, ''])))],
  ])('[D-LIM-03] are refused as JSON with %s, and leave nothing behind', async (_what, body) => {
    const answer = await browser.post('login/start', body, { 'content-type': 'application/json' })
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([400, 'invalid_request', []])
    expect(({} as { prompt?: unknown }).prompt).toBeUndefined()
    expect((await browser.post('login/start', '{}', { 'content-type': 'application/json' })).status).toBe(200)
  })

  it('[D-CO-01] are never answered compressed, whatever a client takes', async () => {
    for (const path of ['login/start', 'refresh', 'logout'] as const) {
      const answer = await browser.post(path, undefined, { 'accept-encoding': 'gzip, br, zstd, deflate;q=1, *' })
      expect([path, answer.headers.get('content-encoding')]).toEqual([path, null])
    }
    const session = await browser.get('session', { 'accept-encoding': 'gzip, br' })
    expect(session.headers.get('content-encoding')).toBeNull()
  })

  it('[D-LIM-12][F-RO-3] are refused when compressed', async () => {
    const answer = await browser.post('login/start', 'a=b', { 'content-encoding': 'gzip' })
    expect([answer.status, answer.json['error_code']]).toEqual([415, 'unsupported_media_type'])
  })

  it('may be longer for login/end, as authorization responses are', async () => {
    const answer = await browser.post('login/end', { state: 'unknown', code: 'x', session_state: 'a'.repeat(40_000) })
    expect(answer.json['error_code']).toBe('unknown_state')
    expect((await browser.post('login/end', { state: 'a'.repeat(70_000) })).status).toBe(413)
  })

  it('never stop the connection from being understood', async () => {
    const { port } = scripted.agent.url
    const host = `Host: localhost:${port}\r\nOrigin: ${trustedOrigin}\r\ntoken-handler-version: 1\r\n`
    const answer = await sendRaw(
      Number(port),
      `POST /oauth-agent/login/start HTTP/1.1\r\n${host}Content-Type: text/plain\r\nContent-Length: 3\r\n\r\na=b` +
        `GET /oauth-agent/session HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    )
    expect(answer.match(/^HTTP\/1.1 \d+/gm)).toEqual(['HTTP/1.1 415'])
  })
})

describe('authorization parameters', () => {
  it('[B-PR-07][C-03] go into the request when they are on the list', async () => {
    const answer = await browser.post('login/start', {
      scope: 'profile',
      claims: '{"a":"&redirect_uri=x"}',
      max_age: '5',
    })
    const url = new URL(String(answer.json['authorization_url']))
    expect(url.searchParams.get('scope')).toBe('openid profile')
    expect(url.searchParams.get('claims')).toBe('{"a":"&redirect_uri=x"}')
    expect(url.searchParams.getAll('redirect_uri')).toEqual(['http://localhost:3000/callback'])
  })

  it.each([
    'client_id=evil',
    'redirect_uri=https%3A%2F%2Fevil.test',
    'state=x',
    'nonce=x',
    'code_challenge=x',
    'code_challenge_method=plain',
    'request=x',
    'request_uri=x',
    'response_type=token',
    'response_mode=form_post',
    'resource=https%3A%2F%2Fevil.test',
    'unknown=x',
    '__proto__=x',
    'constructor=x',
    'x%26redirect_uri%3Dhttps%3A%2F%2Fevil.test=y',
    'prompt=login&prompt=none',
    'prompt=none+login',
    'prompt=login%0d%0aSet-Cookie:+a',
    'login_hint=%00',
    'max_age=-1',
    'max_age=1e9',
    'scope=openid%22',
    `acr_values=${'%22'.repeat(160)}`,
    `acr_values=${'%5C'.repeat(160)}`,
    'acr_values=mfa+%22hwk%22',
  ])('[B-PR-07][F-MO-9] cannot be %s', async (body) => {
    const answer = await browser.post('login/start', body, { 'content-type': 'application/x-www-form-urlencoded' })
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([400, 'invalid_request', []])
  })

  it('[B-PR-07] cannot be longer than what they are for', async () => {
    for (const body of [{ acr_values: 'a'.repeat(200) }, { login_hint: 'a'.repeat(2000) }]) {
      expect((await browser.post('login/start', body)).status).toBe(400)
    }
  })

  it('cannot be given away by configuration when they are ours', async () => {
    for (const options of [{ authorizationParameters: ['redirect_uri'] }, { refreshParameters: ['refresh_token'] }]) {
      await expect(startScripted({ options })).rejects.toThrow('cannot be left to the SPA')
    }
    for (const name of ['scope', 'state', 'redirect_uri']) {
      const authorizationServer = { authorizationParameters: { [name]: 'x' } }
      await expect(startScripted({ authorizationServer })).rejects.toThrow('is set by the agent')
    }
  })
})

describe('the handler', () => {
  it.each([
    ['at the root', '/', (app: express.Express) => app],
    ['under its prefix', '/oauth-agent', (app: express.Express) => app],
  ])('works mounted %s of an Express app, and leaves other paths alone', async (_where, prefix) => {
    const app = express()
    app.use(prefix, scripted.agent.agent.handler)
    app.use((_req, res) => void res.status(418).end())
    const server = createServer(app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const headers = { 'token-handler-version': '1', origin: trustedOrigin }
    const session = await fetch(`${base}/oauth-agent/session`, { headers })
    expect([session.status, await session.text()]).toEqual([200, '{"is_logged_in":false}'])
    expect(session.headers.get('x-powered-by')).toBeNull()
    expect((await fetch(`${base}/oauth-agents/session`, { headers })).status).toBe(418)
    expect((await fetch(`${base}/oauth-agent/nowhere`, { headers })).status).toBe(404)
    server.close()
  })

  it('answers 404 as JSON for other paths when it stands alone', async () => {
    const answer = await browser.get('/elsewhere')
    expect([answer.status, answer.text]).toEqual([404, '{"error_code":"not_found"}'])
  })
})

describe('a target that is no address', () => {
  const send = (lines: readonly string[]): Promise<string> =>
    sendRaw(Number(scripted.agent.url.port), [...lines, 'Host: localhost', 'Connection: close', '', ''].join('\r\n'))

  it('[D-SEC-06] is refused like any other that the agent does not know', async () => {
    const trusted = [`Origin: ${trustedOrigin}`, 'token-handler-version: 1']
    for (const [headers, status, code] of [
      [trusted, 404, 'not_found'],
      [[], 403, 'missing_header'],
    ] as const) {
      const answer = await send(['GET http://[ HTTP/1.1', ...headers])
      expect(answer).toContain(`HTTP/1.1 ${status} `)
      expect(answer).toMatch(/^content-type: application\/json\r$/im)
      expect(answer).toMatch(/^cache-control: no-store\r$/im)
      expect(answer).toMatch(/^x-request-id: [\w-]{8,}\r$/im)
      expect(answer.endsWith(`{"error_code":"${code}"}`)).toBe(true)
    }
  })

  it('leaves a line in the log', async () => {
    const before = scripted.agent.log().length
    await send(['GET http://[canary HTTP/1.1', 'X-Request-Id: gateway-9876543210'])
    const [line = ''] = scripted.agent.log().slice(before).trim().split('\n')
    expect(JSON.parse(line)).toMatchObject({ event: 'request', id: 'gateway-9876543210', route: 'other', status: 403 })
    expect(line).not.toContain('canary')
  })
})

describe('the log', () => {
  it('[G-10] says what was wrong, under an id that the answer has, which says its code and no more', async () => {
    const answer = await browser.post('login/end', { code: 'x' })
    expect(answer.text).toBe('{"error_code":"invalid_request"}')
    const line = scripted.agent.log().trim().split('\n').at(-1) ?? ''
    expect(JSON.parse(line)).toMatchObject({
      event: 'request',
      id: answer.headers.get('x-request-id'),
      code: 'invalid_request',
      detail: 'The parameter state is missing.',
    })
  })

  it('[D-OPS-03][D-OPS-06] has one line a request with code and id, and no text of the request', async () => {
    const before = scripted.agent.log().length
    const id = 'gateway-0123456789'
    await browser.post('login/end', { state: 'canary-state\n', code: 'canary-code' }, { 'x-request-id': id })
    await browser.get('canary-path?canary=1', { 'x-request-id': 'bad id' })
    const lines = scripted.agent
      .log()
      .slice(before)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines).toMatchObject([
      { event: 'request', id, route: '/oauth-agent/login/end', status: 400, code: 'invalid_request' },
      { event: 'request', route: 'other', status: 404, code: 'not_found' },
    ])
    expect(lines[1]?.['id']).not.toBe('bad id')
    expect(JSON.stringify(lines)).not.toContain('canary')
  })
})
