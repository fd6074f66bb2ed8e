import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { json } from './scripted-agent.ts'
import type { Received } from './scripted-server.ts'
import { failureOf, useTestBed } from './test-page.ts'

const bed = useTestBed()

/** The fields of a form as the server received it. */
async function formOf(request: Received): Promise<Record<string, string>> {
  const headers = { 'content-type': String(request.headers['content-type']) }
  const form = await new Response(new Uint8Array(request.body), { headers }).formData()
  const fields: Record<string, string> = {}
  for (const [name, value] of form)
    fields[name] = typeof value === 'string' ? value : `${value.name}: ${await value.text()}`
  return fields
}

async function expectSentTwice(page: Page, path: string): Promise<[Received, Received]> {
  await page.waitForLoadState()
  const sent = bed.server.receivedAt(`POST ${path}`)
  expect(sent).toHaveLength(2)
  expect(bed.server.agent.refreshes).toBe(1)
  return sent as [Received, Received]
}

describe('fetch', () => {
  it('carries the version header and the session, and leaves the answer as it is', async () => {
    const page = await bed.logIn()
    bed.server.script('GET /api/teapot', () => json(418, { error: 'teapot' }, [], { 'x-api': 'yes' }))
    const answer = await page.evaluate(async () => {
      const response = await window.client.fetch('/api/teapot', { headers: { 'x-own': '1' } })
      return { status: response.status, header: response.headers.get('x-api'), body: await response.text() }
    })
    expect(answer).toEqual({ status: 418, header: 'yes', body: '{"error":"teapot"}' })
    const [sent] = bed.server.receivedAt('GET /api/teapot')
    expect(sent?.headers).toMatchObject({ 'token-handler-version': '1', 'x-own': '1' })
    expect(sent?.headers['cookie']).toContain('__Secure-th-at-x=')
  })

  it('refreshes once when the access token is over, and repeats the request', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    const status = await page.evaluate(async () => (await window.client.fetch('/api/orders')).status)
    expect(status).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
    const [first, second] = bed.server.receivedAt('GET /api/orders')
    expect(first?.headers['cookie']).toContain('th-at-x=1')
    expect(second?.headers['cookie']).toContain('th-at-x=2')
  })

  it('refreshes without any answer of the agent before', async () => {
    await bed.logIn()
    bed.server.agent.expireAccessToken()
    const page = await bed.open()
    expect(await page.evaluate(async () => (await window.client.fetch('/api/orders')).status)).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('[G-7] refreshes once for many requests of one page', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    const statuses = await page.evaluate(async () => {
      const paths = Array.from({ length: 50 }, (_, index) => `/api/${index}`)
      const answers = await Promise.all(paths.map((path) => window.client.fetch(path)))
      return answers.map(({ status }) => status)
    })
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refreshes before it sends when it knows that the access token is over', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    await page.evaluate(() => window.client.session())
    expect(await page.evaluate(async () => (await window.client.fetch('/api/orders')).status)).toBe(200)
    expect(bed.server.receivedAt('GET /api/orders')).toHaveLength(1)
  })

  it('refreshes for HEAD too, whose answer does not say what it was refused for', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    const head = (): Promise<number> =>
      page.evaluate(async () => (await window.client.fetch('/api/orders', { method: 'HEAD' })).status)
    expect(await head()).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
    bed.server.script('HEAD /api/orders', () => json(401, { code: 'invalid_token' }))
    expect(await head()).toBe(401)
    expect(bed.server.agent.refreshes).toBe(1)
    bed.server.agent.endSession()
    expect(await failureOf(page, () => window.client.fetch('/api/orders', { method: 'HEAD' }))).toMatchObject({
      name: 'SessionEndedError',
      code: 'session_missing',
    })
  })

  it('[B-SU-04] gives up after a third refusal, with what it was refused for', async () => {
    const page = await bed.logIn()
    bed.server.script('GET /api/never', () => json(401, { code: 'access_token_expired' }))
    expect(await failureOf(page, () => window.client.fetch('/api/never'))).toMatchObject({
      name: 'TokenHandlerClientError',
      code: 'access_token_expired',
      status: 401,
    })
    expect(bed.server.receivedAt('GET /api/never')).toHaveLength(3)
    expect(bed.server.agent.refreshes).toBeLessThanOrEqual(1)
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('refreshes for real when the access cookie is lost though the agent knows of no expiry', async () => {
    const page = await bed.logIn()
    await bed.context.clearCookies({ name: '__Secure-th-at-x' })
    expect(await page.evaluate(async () => (await window.client.fetch('/api/orders')).status)).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it.each([
    ['another code', 401, { code: 'invalid_token' }],
    ['no code', 401, {}],
    ['a code that is no text', 401, { code: ['access_token_expired'] }],
    ['a name that every object has', 401, { code: 'constructor' }],
    ['our code with another status', 403, { code: 'access_token_expired' }],
    ['our code with a status of ours that is not its own', 401, { code: 'store_unavailable' }],
  ])("[B-SU-04] hands over the API's own refusal: %s", async (_name, status, body) => {
    const page = await bed.logIn()
    bed.server.script('GET /api/own', () => json(status, body))
    const answer = await page.evaluate(async () => {
      const response = await window.client.fetch('/api/own')
      return { status: response.status, body: (await response.json()) as unknown }
    })
    expect(answer).toEqual({ status, body })
    expect(bed.server.agent.refreshes).toBe(0)
  })

  it('hands over a 401 that is not JSON', async () => {
    const page = await bed.logIn()
    bed.server.script('GET /api/html', () => ({
      status: 401,
      headers: { 'content-type': 'text/html' },
      body: '{"code":"session_ended"}',
    }))
    expect(await page.evaluate(async () => (await window.client.fetch('/api/html')).status)).toBe(401)
  })

  it('sends nothing to an origin that is not configured', async () => {
    const page = await bed.logIn()
    const before = bed.server.received.length
    const failure = await failureOf(page, () => window.client.fetch(location.origin.replace('localhost', '127.0.0.1')))
    expect(failure).toMatchObject({ code: 'origin_not_allowed' })
    expect(await failureOf(page, () => window.client.fetch('data:text/plain,x'))).toMatchObject({
      code: 'origin_not_allowed',
    })
    expect(bed.server.received).toHaveLength(before)
  })
})

describe('a repeated request has its body again', () => {
  const sendAfterExpiry = async (send: () => Promise<unknown>): Promise<Page> => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    await page.evaluate(send)
    return page
  }

  it.each<[string, () => Promise<unknown>]>([
    ['text', () => window.client.fetch('/api/body', { method: 'POST', body: 'wax' })],
    ['Blob', () => window.client.fetch('/api/body', { method: 'POST', body: new Blob(['w', 'ax']) })],
    [
      'ArrayBuffer',
      () => window.client.fetch('/api/body', { method: 'POST', body: new TextEncoder().encode('wax').buffer }),
    ],
    [
      'a view',
      () =>
        window.client.fetch('/api/body', { method: 'POST', body: new TextEncoder().encode('-wax-').subarray(1, 4) }),
    ],
    ['Request', () => window.client.fetch(new Request('/api/body', { method: 'POST', body: 'wax' }))],
    [
      'Request and other options',
      () => window.client.fetch(new Request('/api/body', { method: 'POST', body: 'lac' }), { body: 'wax' }),
    ],
    [
      'Request with a stream read from text',
      () => window.client.fetch(new Request(new Request('/api/body', { method: 'POST', body: 'wax' }))),
    ],
  ])('%s', async (_name, send) => {
    const sent = await expectSentTwice(await sendAfterExpiry(send), '/api/body')
    expect(sent.map(({ body }) => body.toString())).toEqual(['wax', 'wax'])
    expect(sent[1].headers['content-type']).toBe(sent[0].headers['content-type'])
  })

  it('nothing at all', async () => {
    const page = await sendAfterExpiry(() => window.client.fetch(new Request('/api/body', { method: 'POST' })))
    const sent = await expectSentTwice(page, '/api/body')
    expect(sent.map(({ body }) => body.length)).toEqual([0, 0])
  })

  it.each<[string, () => Promise<unknown>]>([
    [
      'URLSearchParams',
      () =>
        window.client.fetch('/api/body', {
          method: 'POST',
          body: new URLSearchParams({ item: 'wax & seal', file: 'f: x' }),
        }),
    ],
    [
      'FormData',
      () => {
        const form = new FormData()
        form.append('item', 'wax & seal')
        form.append('file', new File(['x'], 'f'))
        return window.client.fetch('/api/body', { method: 'POST', body: form })
      },
    ],
    [
      'Request with FormData',
      () => {
        const form = new FormData()
        form.append('item', 'wax & seal')
        form.append('file', new File(['x'], 'f'))
        return window.client.fetch(new Request('/api/body', { method: 'POST', body: form }))
      },
    ],
  ])('%s', async (_name, send) => {
    for (const sent of await expectSentTwice(await sendAfterExpiry(send), '/api/body')) {
      expect(await formOf(sent)).toEqual({ item: 'wax & seal', file: 'f: x' })
    }
  })

  it('as it was at the time of the call, whatever became of it', async () => {
    const page = await sendAfterExpiry(async () => {
      const bytes = new TextEncoder().encode('wax')
      const sending = window.client.fetch('/api/body', { method: 'POST', body: bytes })
      bytes.fill(0)
      await sending
    })
    const sent = await expectSentTwice(page, '/api/body')
    expect(sent.map(({ body }) => body.toString())).toEqual(['wax', 'wax'])
  })
})

describe('errors of fetch', () => {
  it.each(['session_missing', 'session_ended', 'context_changed'])(
    '401 %s ends the session, without a refresh',
    async (code) => {
      const page = await bed.logIn()
      bed.server.script('GET /api/orders', () => json(401, { code, message: 'over' }))
      expect(await failureOf(page, () => window.client.fetch('/api/orders'))).toMatchObject({
        name: 'SessionEndedError',
        code,
        status: 401,
      })
      expect(bed.server.receivedAt('POST /oauth-agent/refresh')).toHaveLength(0)
      expect(await page.evaluate(() => window.changes.map(({ reason }) => reason))).toEqual(['loaded', 'ended'])
      expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(false)
    },
  )

  it.each(['session_expired', 'session_superseded'])('401 %s of the refresh ends the session', async (code) => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    bed.server.script('POST /oauth-agent/refresh', () => {
      bed.server.agent.endSession()
      return json(401, { error_code: code })
    })
    expect(await failureOf(page, () => window.client.fetch('/api/orders'))).toMatchObject({
      name: 'SessionEndedError',
      code,
      status: 401,
    })
    expect(await page.evaluate(() => window.changes.at(-1)?.reason)).toBe('ended')
  })

  it('asks for no refresh when the session turns out to be over', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    bed.server.script('GET /oauth-agent/session', () => json(200, { is_logged_in: false }))
    expect(await failureOf(page, () => window.client.fetch('/api/orders'))).toMatchObject({ name: 'SessionEndedError' })
    expect(bed.server.receivedAt('POST /oauth-agent/refresh')).toHaveLength(0)
  })

  it('503 store_unavailable is temporary and keeps the session', async () => {
    const page = await bed.logIn()
    bed.server.script('GET /api/orders', () => json(503, { code: 'store_unavailable' }, [], { 'retry-after': '7' }))
    expect(await failureOf(page, () => window.client.fetch('/api/orders'))).toMatchObject({
      name: 'TemporaryError',
      code: 'store_unavailable',
      status: 503,
      retryAfterSeconds: 7,
    })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('503 of a needed refresh is temporary and keeps the session', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    bed.server.script('POST /oauth-agent/refresh', () =>
      json(503, { error_code: 'refresh_pending' }, [], { 'retry-after': '2' }),
    )
    expect(await failureOf(page, () => window.client.fetch('/api/orders'))).toMatchObject({
      name: 'TemporaryError',
      code: 'refresh_pending',
      retryAfterSeconds: 2,
    })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('a 401 from before a login in another tab is no word about the session of now', async () => {
    const page = await bed.logIn()
    const late = Promise.withResolvers<void>()
    let refused = false
    bed.server.script('GET /api/slow', async ({ headers }) => {
      if (!String(headers['cookie']).includes('th-at-x=1')) return undefined
      refused = true
      await late.promise
      return json(401, { code: 'session_ended' })
    })
    const answer = page.evaluate(async () => (await window.client.fetch('/api/slow')).status)
    await bed.logInThroughPages()
    await page.waitForFunction(() => window.changes.some(({ reason }) => reason === 'login'))
    late.resolve()
    expect(await answer).toBe(200)
    expect(refused).toBe(true)
  })

  it('stops reading a refusal when the caller gives up', async () => {
    const page = await bed.logIn()
    const begun = Promise.withResolvers<void>()
    bed.server.script('GET /api/orders', () => ({
      status: 401,
      headers: { 'content-type': 'application/json' },
      body: (response) => response.write('{"code":', () => begun.resolve()),
    }))
    const failure = failureOf(page, () => {
      const controller = new AbortController()
      addEventListener('give-up', () => controller.abort())
      return window.client.fetch('/api/orders', { signal: controller.signal })
    })
    const answered = page.waitForResponse((response) => response.url().endsWith('/api/orders'))
    await begun.promise
    await answered
    await page.evaluate(() => dispatchEvent(new Event('give-up')))
    expect(await failure).toMatchObject({ name: 'AbortError' })
  })

  it('stops waiting for a refresh when the caller gives up', async () => {
    const page = await bed.logIn()
    bed.server.agent.expireAccessToken()
    const held = bed.server.hold('POST /oauth-agent/refresh')
    const failure = failureOf(page, () => {
      const controller = new AbortController()
      addEventListener('give-up', () => controller.abort())
      return window.client.fetch('/api/orders', { signal: controller.signal })
    })
    await held.arrived(1)
    await page.evaluate(() => dispatchEvent(new Event('give-up')))
    expect(await failure).toMatchObject({ name: 'AbortError' })
    held.release()
  })
})
