import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { generate } from 'selfsigned'
import { json } from './scripted-agent.ts'
import { startScriptedServer, type ScriptedServer } from './scripted-server.ts'
import { failureOf, openPage, useTestBed } from './test-page.ts'

const bed = useTestBed()
const LONG = { access_token_expires_in: 300, access_token_lifetime: 300 }

/** The rules of the wire contract that bind a client, as the other clients of this agent keep them too. */
describe('calls to the agent', () => {
  it('carry the version header, accept JSON, include cookies, and are never answered from a cache', async () => {
    const page = await bed.logIn()
    // An answer that may be kept, and would be used again if the call allowed it.
    bed.server.script('GET /oauth-agent/session', () =>
      json(200, { is_logged_in: true }, [], { 'cache-control': 'max-age=600' }),
    )
    await page.evaluate(() => window.client.session())
    await page.evaluate(() => window.client.session())
    const calls = bed.server.receivedAt('GET /oauth-agent/session').slice(-2)
    expect(calls).toHaveLength(2)
    for (const { headers } of calls) {
      expect(headers).toMatchObject({ accept: 'application/json', 'token-handler-version': '1' })
      expect(headers['cookie']).toContain('__Secure-th-rt-x=')
      expect(headers['sec-fetch-mode']).toBe('cors')
    }
  })

  it('log out without a body and without a content type', async () => {
    const page = await bed.logIn()
    await page.evaluate(() => window.client.logout({ navigate: false }))
    const [sent] = bed.server.receivedAt('POST /oauth-agent/logout')
    expect(sent?.body).toHaveLength(0)
    expect(sent?.headers['content-type']).toBeUndefined()
  })

  it('refresh with an empty form', async () => {
    const page = await bed.logIn()
    await page.evaluate(() => window.client.refresh())
    const [sent] = bed.server.receivedAt('POST /oauth-agent/refresh')
    expect(sent?.body).toHaveLength(0)
    expect(sent?.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
  })

  it('carry the origin though the page sends no referrer', async () => {
    const page = await bed.open()
    await page.evaluate(() => {
      document.head.innerHTML += '<meta name="referrer" content="no-referrer">'
    })
    await page.evaluate(() => window.client.logout({ navigate: false }))
    expect(bed.server.receivedAt('POST /oauth-agent/logout')[0]?.headers['origin']).toBe(bed.server.origin)
  })
})

describe('answers of the agent', () => {
  it.each([
    ['{}', {}],
    ['unknown fields', { x: 1, access_token_expires_in: 5 }],
  ])('to refresh and logout may be %s', async (_name, answer) => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/refresh', () => json(200, answer))
    bed.server.script('POST /oauth-agent/logout', () => json(200, answer))
    expect(await page.evaluate(() => window.client.refresh())).toMatchObject({ isLoggedIn: true })
    expect(await page.evaluate(() => window.client.logout({ navigate: false }))).toBeUndefined()
  })

  it('may leave out the times and the claims', async () => {
    const page = await bed.open()
    bed.server.script('GET /oauth-agent/session', () => json(200, { is_logged_in: true, id_token_claims: null }))
    expect(await page.evaluate(() => window.client.session())).toEqual({
      isLoggedIn: true,
      receivedAt: expect.any(Number),
    })
  })

  it('say with 200 that nobody is logged in', async () => {
    const page = await bed.open()
    expect(await page.evaluate(() => window.client.session())).toEqual({
      isLoggedIn: false,
      receivedAt: expect.any(Number),
    })
  })

  it.each([
    [
      '403',
      () => json(403, { error_code: 'untrusted_origin' }),
      { name: 'TokenHandlerClientError', code: 'untrusted_origin', status: 403 },
    ],
    [
      '429',
      () => json(429, { error_code: 'too_many_requests' }, [], { 'retry-after': '30' }),
      { name: 'TemporaryError', code: 'too_many_requests', retryAfterSeconds: 30 },
    ],
    [
      '502',
      () => json(502, { error_code: 'authorization_server_error' }),
      { name: 'TemporaryError', code: 'authorization_server_error' },
    ],
    [
      '502 of a token that is too large',
      () => json(502, { error_code: 'token_too_large' }),
      { name: 'TokenHandlerClientError', code: 'token_too_large' },
    ],
    [
      '503 with a date',
      () => json(503, { error_code: 'store_unavailable' }, [], { 'retry-after': new Date(0).toUTCString() }),
      { name: 'TemporaryError', retryAfterSeconds: 0 },
    ],
    ['204', () => ({ status: 204 }), { code: 'invalid_answer', status: 204 }],
    ['HTML', () => ({ status: 200, body: '<!doctype html>' }), { code: 'invalid_answer', status: 200 }],
    ['a JSON text', () => ({ status: 200, body: '"x"' }), { code: 'invalid_answer' }],
    ['an error without a code', () => json(400, { error: 'x' }), { code: 'invalid_answer', status: 400 }],
    [
      'a redirect to a page',
      () => ({ status: 302, headers: { location: '/login' } }),
      { name: 'TemporaryError', code: 'network_error' },
    ],
  ])('are a typed error when they are %s', async (_name, answer, failure) => {
    const page = await bed.open()
    bed.server.script('GET /oauth-agent/session', answer)
    expect(await failureOf(page, () => window.client.session())).toMatchObject(failure)
  })

  it('that do not come are a time-out', async () => {
    const page = await bed.open()
    const held = bed.server.hold('GET /oauth-agent/session')
    const failure = await failureOf(page, () => window.library.createTokenHandlerClient({ timeoutMs: 50 }).session())
    expect(failure).toMatchObject({ name: 'TemporaryError', code: 'timeout' })
    held.release()
  })

  it('that cannot come are a network error', async () => {
    const page = await bed.open()
    await bed.server.close()
    expect(await failureOf(page, () => window.client.session())).toMatchObject({
      name: 'TemporaryError',
      code: 'network_error',
    })
  })
})

describe('an agent and an API on another origin of the same site', () => {
  it('serve the page with its cookies, after a preflight', async () => {
    const site = `http://www.example.localhost:${bed.server.port}`
    const api = `http://api.example.localhost:${bed.server.port}`
    bed.server.corsOrigins.push(site)
    const page = await openPage(bed.context, site)
    const answer = await page.evaluate(async (origin) => {
      const options = { agentUrl: `${origin}/oauth-agent/`, apiOrigins: [origin] }
      window.client = window.library.createTokenHandlerClient(options)
      await fetch(`${origin}/oauth-agent/login/start`, {
        method: 'POST',
        credentials: 'include',
        headers: { 'token-handler-version': '1' },
      })
      history.replaceState(null, '', '/callback?code=c&state=s')
      const session = await window.client.handleCallback({ navigate: false })
      const response = await window.client.fetch(`${origin}/api/orders`, { method: 'POST', body: 'wax' })
      return { isLoggedIn: session.isLoggedIn, status: response.status }
    }, api)
    expect(answer).toEqual({ isLoggedIn: true, status: 200 })
    expect(bed.server.receivedAt('OPTIONS /oauth-agent/session').length).toBeGreaterThan(0)
    expect(bed.server.receivedAt('POST /api/orders')[0]?.headers).toMatchObject({
      origin: site,
      'sec-fetch-site': 'same-site',
    })
  })
})

describe('a body that is a stream', () => {
  let tls: { key: string; cert: string }
  let server: ScriptedServer
  beforeAll(async () => {
    const names = [
      { type: 2 as const, value: 'localhost' },
      { type: 7 as const, ip: '127.0.0.1' },
    ]
    const pem = await generate([{ name: 'commonName', value: 'localhost' }], {
      algorithm: 'sha256',
      extensions: [{ name: 'subjectAltName', altNames: names }],
    })
    tls = { key: pem.private, cert: pem.cert }
  })
  afterEach(() => server.close())

  const upload = async (
    beforeUpload: () => void,
    beforeLogin: (started: ScriptedServer) => void = () => {},
  ): Promise<Record<string, unknown> | undefined> => {
    server = await startScriptedServer({ tls })
    beforeLogin(server)
    const context = await bed.browser.newContext({ ignoreHTTPSErrors: true })
    const page = await openPage(context, server.origin)
    // The page may be left before it can say that it is; where the login fails, nothing below is found.
    await page.evaluate(() => window.client.login()).catch(() => undefined)
    await page.waitForURL((url) => url.pathname === '/' && url.search === '')
    await page.waitForFunction(() => 'client' in window)
    await page.evaluate(() => window.client.session())
    beforeUpload()
    const failure = await failureOf(page, () => {
      const body = new Blob(['wax']).stream()
      const init = { method: 'POST', body, duplex: 'half' } as RequestInit
      return window.client.fetch('/api/upload', init)
    })
    await context.close()
    return failure
  }

  it('is sent as it is', async () => {
    expect(await upload(() => {})).toBeUndefined()
    expect(server.receivedAt('POST /api/upload')[0]?.body.toString()).toBe('wax')
  })

  it('cannot be repeated, which is an error of its own', async () => {
    expect(await upload(() => server.agent.expireAccessToken())).toMatchObject({
      code: 'body_not_repeatable',
      status: 401,
    })
    expect(server.receivedAt('POST /api/upload')).toHaveLength(1)
  })

  it('waits for an early refresh, so that its one try has a token that lives', async () => {
    const failure = await upload(
      () => server.script('POST /oauth-agent/refresh', () => void (server.agent.times = LONG)),
      (started) => {
        started.agent.times = { access_token_expires_in: 50, access_token_lifetime: 300 }
      },
    )
    expect(failure).toBeUndefined()
    const paths = server.received.filter(({ method }) => method === 'POST').map(({ path }) => path)
    expect(paths.slice(-2)).toEqual(['/oauth-agent/refresh', '/api/upload'])
  })
})
