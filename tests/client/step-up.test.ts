import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import type { StepUpOptions } from '@token-handler/client/step-up'
import { until } from '../support/until.ts'
import { json } from './scripted-agent.ts'
import type { Received } from './scripted-server.ts'
import { failureOf, useTestBed } from './test-page.ts'

const bed = useTestBed()
const CHALLENGE = 'Bearer error="insufficient_user_authentication", acr_values="urn:mfa", max_age="300"'

/** Refuses a route until the next login, as the proxy does. */
function demandStepUp(route: string): void {
  const logins = bed.server.receivedAt('POST /oauth-agent/login/end').length
  bed.server.script(route, () =>
    bed.server.receivedAt('POST /oauth-agent/login/end').length > logins
      ? undefined
      : json(401, { code: 'step_up_required', message: 'Log in.' }, [], { 'www-authenticate': CHALLENGE }),
  )
}

interface Call {
  readonly path?: string
  readonly init: Pick<RequestInit, 'method'> & { headers?: Record<string, string>; body?: string }
  readonly repeat?: NonNullable<StepUpOptions['repeat']>
}

let returns = 0

/** Makes a call that is refused, and steps up for it through the authorization server. */
async function stepUpFor(page: Page, { path = '/api/orders/7/cancel', init, repeat: what }: Call): Promise<void> {
  returns += 1
  const back = String(returns)
  const options: StepUpOptions = { returnTo: `/?back=${back}`, ...(what === undefined ? {} : { repeat: what }) }
  demandStepUp(`${init.method ?? 'GET'} ${path}`)
  await page.evaluate(
    async ([to, how, stepUpOptions]) => {
      const { stepUp, StepUpRequiredError } = window.library
      const error: unknown = await window.client.fetch(to, how).catch((thrown: unknown) => thrown)
      if (error instanceof StepUpRequiredError) void stepUp(window.client, error, stepUpOptions)
    },
    [path, init, options] as const,
  )
  await page.waitForURL((url) => url.searchParams.get('back') === back)
  await page.waitForFunction(() => 'client' in window)
}

async function repeat(page: Page): Promise<unknown> {
  return page.evaluate(async () => {
    const repeated = await window.library.repeatCall(window.client)
    return repeated === undefined ? undefined : { method: repeated.method, status: repeated.response.status }
  })
}

function kept(page: Page): Promise<string> {
  return page.evaluate(() => JSON.stringify(Object.entries(sessionStorage)))
}

describe('a call that asks for a stronger login', () => {
  it('throws what the challenge asks for, with the call unread, and leaves the session as it is', async () => {
    const page = await bed.logIn()
    demandStepUp('PUT /api/orders/7')
    const seen = await page.evaluate(async () => {
      const { StepUpRequiredError } = window.library
      const init = { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"a":1}' }
      const error: unknown = await window.client.fetch('/api/orders/7', init).catch((thrown: unknown) => thrown)
      if (!(error instanceof StepUpRequiredError)) return error
      const { code, status, acrValues, maxAge, request } = error
      return { code, status, acrValues, maxAge, method: request?.method, body: await request?.text() }
    })
    expect(seen).toEqual({
      code: 'step_up_required',
      status: 401,
      acrValues: ['urn:mfa'],
      maxAge: 300,
      method: 'PUT',
      body: '{"a":1}',
    })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
    expect(bed.server.agent.refreshes).toBe(0)
  })

  it.each<[string, Record<string, unknown>]>([
    ['Bearer error=insufficient_user_authentication, max_age=5', { acrValues: [], maxAge: 5 }],
    ['Bearer realm="x", error="insufficient_user_authentication", acr_values="a b"', { acrValues: ['a', 'b'] }],
    ['bearer ERROR="insufficient_user_authentication"', { acrValues: [] }],
  ])('reads the challenge %s (RFC 9470 section 3)', async (challenge, expected) => {
    const page = await bed.logIn()
    bed.server.script('GET /api/x', () =>
      json(401, { error: 'of the API itself' }, [], { 'www-authenticate': challenge }),
    )
    expect(await failureOf(page, () => window.client.fetch('/api/x'))).toMatchObject(expected)
  })

  it.each(['Bearer', 'Bearer error="invalid_token"', 'Bearer error_description="insufficient_user_authentication"'])(
    'is none with the challenge %s',
    async (challenge) => {
      const page = await bed.logIn()
      bed.server.script('GET /api/x', () => json(401, { error: 'no' }, [], { 'www-authenticate': challenge }))
      expect(await page.evaluate(async () => (await window.client.fetch('/api/x')).status)).toBe(401)
    },
  )

  it('is what login() takes as it is', async () => {
    const page = await bed.logIn()
    demandStepUp('GET /api/x')
    await page.evaluate(async () => {
      const error: unknown = await window.client.fetch('/api/x').catch((thrown: unknown) => thrown)
      if (error instanceof window.library.StepUpRequiredError) void window.client.login(error)
    })
    const starts = (): Received[] => bed.server.receivedAt('POST /oauth-agent/login/start')
    await until('the second login', () => starts().length === 2)
    const sent = starts()[1]
    expect(Object.fromEntries(new URLSearchParams(sent?.body.toString()))).toEqual({
      acr_values: 'urn:mfa',
      max_age: '300',
    })
  })
})

describe('stepUp and repeatCall', () => {
  it('log in with what is asked for, come back, and repeat the call with its body, once', async () => {
    const page = await bed.logIn()
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'k1' }
    const init = { method: 'PUT', headers, body: '{"reason":"too late"}' }
    await stepUpFor(page, { init })
    const [start] = bed.server.receivedAt('POST /oauth-agent/login/start').slice(-1)
    expect(start?.body.toString()).toBe('acr_values=urn%3Amfa&max_age=300')
    expect(await repeat(page)).toEqual({ method: 'PUT', status: 200 })
    const sent = bed.server.receivedAt('PUT /api/orders/7/cancel')
    expect(sent).toHaveLength(2)
    expect(sent[1]?.body.toString()).toBe('{"reason":"too late"}')
    expect(sent[1]?.headers).toMatchObject(headers)
    expect(await repeat(page)).toBeUndefined()
    await page.reload()
    await page.waitForFunction(() => 'client' in window)
    expect(await repeat(page)).toBeUndefined()
    expect(bed.server.receivedAt('PUT /api/orders/7/cancel')).toHaveLength(2)
  })

  it('repeat a POST only when told that it may be', async () => {
    const page = await bed.logIn()
    await stepUpFor(page, { init: { method: 'POST' } })
    expect(await repeat(page)).toBeUndefined()
    await stepUpFor(page, { path: '/api/again', init: { method: 'POST' }, repeat: 'any' })
    expect(await repeat(page)).toEqual({ method: 'POST', status: 200 })
    await stepUpFor(page, { path: '/api/never', init: { method: 'PUT' }, repeat: 'none' })
    expect(await repeat(page)).toBeUndefined()
  })

  it('keep no credential: of the headers a few, of the bodies only JSON of a bounded size', async () => {
    const page = await bed.logIn()
    const secret = { authorization: 'Bearer secret-1', 'x-api-key': 'secret-2' }
    const json64k = JSON.stringify('secret-3'.repeat(9000))
    for (const [index, init] of [
      { method: 'PUT', headers: { ...secret, 'content-type': 'application/json' }, body: '{}' },
      { method: 'PUT', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'password=secret-4' },
      { method: 'PUT', headers: { 'content-type': 'application/json' }, body: json64k },
    ].entries()) {
      await stepUpFor(page, { path: `/api/${index}`, init })
      const text = await kept(page)
      expect(text).not.toContain('secret')
      expect(text.includes('/api/0')).toBe(index === 0)
      expect(await repeat(page)).toEqual(index === 0 ? { method: 'PUT', status: 200 } : undefined)
      expect(await kept(page)).toBe('[]')
    }
  })

  it('forget the call when the login is given up, and another one succeeds', async () => {
    const page = await bed.logIn()
    demandStepUp('PUT /api/x')
    bed.server.script('GET /authorize', () => ({
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: 'sign in',
    }))
    await page.evaluate(async () => {
      const error: unknown = await window.client.fetch('/api/x', { method: 'PUT' }).catch((thrown: unknown) => thrown)
      if (error instanceof window.library.StepUpRequiredError) void window.library.stepUp(window.client, error)
    })
    await page.waitForURL((url) => url.pathname === '/authorize')
    await page.goto(`${bed.server.origin}/`)
    await page.waitForFunction(() => 'client' in window)
    expect(await repeat(page)).toBeUndefined()
    bed.server.script('GET /authorize', (request: Received) => bed.server.agent.answer(request))
    await page.evaluate(() => void window.client.login({ returnTo: '/?back' }))
    await page.waitForURL((url) => url.searchParams.has('back'))
    await page.waitForFunction(() => 'client' in window)
    expect(await repeat(page)).toBeUndefined()
    expect(bed.server.receivedAt('PUT /api/x')).toHaveLength(1)
    expect(await kept(page)).toBe('[]')
  })

  it('[B-SU-03] forget the call when another user came back', async () => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/login/end', () => {
      bed.server.agent.claims = { sub: 'somebody-else' }
      return undefined
    })
    await stepUpFor(page, { init: { method: 'PUT' } })
    expect(await failureOf(page, () => window.library.repeatCall(window.client))).toMatchObject({
      code: 'user_changed',
    })
    expect(await repeat(page)).toBeUndefined()
    expect(bed.server.receivedAt('PUT /api/orders/7/cancel')).toHaveLength(1)
  })

  it('keep no call when the agent does not show whose it is', async () => {
    bed.server.agent.claims = { name: 'Alice' }
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/login/end', () => {
      bed.server.agent.claims = { name: 'Bob' }
      return undefined
    })
    await stepUpFor(page, { init: { method: 'PUT' }, repeat: 'any' })
    expect(await kept(page)).toBe('[]')
    expect(await repeat(page)).toBeUndefined()
    expect(bed.server.receivedAt('PUT /api/orders/7/cancel')).toHaveLength(1)
  })

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['comes back', { sub: 'demo' }, { name: 'Bob' }],
    ['it was kept for', { name: 'Alice' }, { name: 'Bob' }],
  ])('repeat no call when it is not known who %s', async (_name, { sub }, after) => {
    const page = await bed.logIn()
    bed.server.agent.claims = after
    await page.evaluate(
      (text) => sessionStorage.setItem('token-handler:call', text),
      JSON.stringify({ method: 'PUT', url: `${bed.server.origin}/api/x`, headers: [], sub, keptAt: Date.now() }),
    )
    expect(await failureOf(page, () => window.library.repeatCall(window.client))).toMatchObject({
      code: 'user_changed',
    })
    expect(await kept(page)).toBe('[]')
    expect(bed.server.receivedAt('PUT /api/x')).toHaveLength(0)
  })

  it('forget the call after ten minutes', async () => {
    const page = await bed.logIn()
    await stepUpFor(page, { init: { method: 'PUT' } })
    await page.evaluate(() => {
      const now = Date.now.bind(Date)
      Date.now = () => now() + 601_000
    })
    expect(await repeat(page)).toBeUndefined()
  })

  it('do not go round in circles when the new login is not enough', async () => {
    const page = await bed.logIn()
    await stepUpFor(page, { init: { method: 'PUT' } })
    demandStepUp('PUT /api/orders/7/cancel')
    expect(await failureOf(page, () => window.library.repeatCall(window.client))).toMatchObject({
      code: 'step_up_required',
    })
    expect(await repeat(page)).toBeUndefined()
  })
})
