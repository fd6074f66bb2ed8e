import { describe, expect, it } from '@jest/globals'
import type { TappedRequest } from '../support/wire-tap.ts'
import { useCrossOriginDemo } from './cross-origin-bed.ts'
import { callApi, logOut } from './support.ts'

const bed = useCrossOriginDemo()

/** Requests to agent and proxy since a moment, preflights apart. */
function requestsSince(before: number): { preflights: TappedRequest[]; calls: TappedRequest[] } {
  const requests = bed.demo.wire.requests.slice(before)
  return {
    preflights: requests.filter(({ method }) => method === 'OPTIONS'),
    calls: requests.filter(({ method }) => method !== 'OPTIONS'),
  }
}

describe('SPA on www, agent and proxy on api, of one site', () => {
  it('logs in, reads and writes through the proxy, refreshes and logs out', async () => {
    const page = await bed.logIn()
    expect(page.url()).toBe(`${bed.demo.url}/`)
    expect(new URL(bed.demo.url).hostname).toBe('www.example.localhost')
    expect(new URL(bed.demo.backendUrl).hostname).toBe('api.example.localhost')
    expect(await page.getByTestId('user').textContent()).toBe('Demo User')
    await callApi(page)
    expect(bed.demo.lastBearer()).toBe(bed.demo.authorizationServer.issued.at(-1)?.accessToken)

    await page.getByTestId('nav-orders').click()
    await page.getByTestId('order-item').fill('Sealing wax')
    await page.getByTestId('order-submit').click()
    await page.getByTestId('order').filter({ hasText: 'Sealing wax' }).waitFor()

    await page.getByTestId('nav-overview').click()
    const refreshes = bed.demo.tokenRequests('refresh_token').length
    const refreshed = page.waitForResponse((response) => response.url().endsWith('/refresh') && response.ok())
    await page.getByTestId('refresh').click()
    await refreshed
    expect(bed.demo.tokenRequests('refresh_token')).toHaveLength(refreshes + 1)
    await callApi(page)

    await logOut(page)
    expect(await page.context().cookies([bed.demo.url, bed.demo.backendUrl])).toEqual([])
  })

  it('asks before every kind of call with a preflight that carries no cookie', async () => {
    const before = bed.demo.wire.requests.length
    const page = await bed.logIn()
    await callApi(page)
    const { preflights, calls } = requestsSince(before)
    expect(new Set(preflights.map(({ path }) => path))).toEqual(new Set(calls.map(({ path }) => path)))
    expect(preflights.filter(({ headers }) => headers.cookie !== undefined)).toEqual([])
    expect(calls.length).toBeGreaterThan(4)
    for (const { headers } of calls) {
      expect([headers.origin, headers['sec-fetch-site']]).toEqual([bed.demo.url, 'same-site'])
    }
  })

  it('reads why a call is refused, also where the path is no route’s', async () => {
    const page = await bed.logIn()
    const answers = await page.evaluate(async (backend) => {
      const call = async (path: string): Promise<unknown> => {
        const headers = { 'token-handler-version': '1' }
        const response = await fetch(backend + path, { method: 'POST', headers, credentials: 'include' })
        return [response.status, ((await response.json()) as { code?: unknown }).code]
      }
      return Promise.all(['/api', '/apis/orders', '/api//orders'].map(call))
    }, bed.demo.backendUrl)
    expect(answers).toEqual([
      [404, 'not_found'],
      [404, 'not_found'],
      [400, 'invalid_request'],
    ])
  })

  it('keeps all cookies on the api host, out of reach of script on both', async () => {
    const page = await bed.logIn()
    expect(await page.context().cookies(bed.demo.url)).toEqual([])
    const cookies = await page
      .context()
      .cookies(['/', '/api', '/oauth-agent'].map((path) => bed.demo.backendUrl + path))
    expect(cookies.map(({ path }) => path).toSorted()).toEqual(['/', '/api', '/oauth-agent', '/oauth-agent'])
    for (const cookie of cookies) {
      expect(cookie).toMatchObject({
        domain: 'api.example.localhost',
        httpOnly: true,
        secure: true,
        sameSite: 'Strict',
      })
    }
    expect(await page.evaluate(() => document.cookie)).toBe('')
    await page.goto(`${bed.demo.backendUrl}/api/orders`)
    expect(await page.evaluate(() => document.cookie)).toBe('')
  })

  it('renews an expired token when the API refuses it, because the refusal is readable across origins', async () => {
    const page = await bed.logIn()
    const before = bed.demo.wire.requests.length
    const refreshes = bed.demo.tokenRequests('refresh_token').length
    bed.demo.clock.advanceSeconds(301)
    await callApi(page)
    const paths = requestsSince(before).calls.map(({ path }) => path)
    expect(paths.filter((path) => path === '/oauth-agent/refresh')).toHaveLength(1)
    expect(paths.filter((path) => path === '/api/me')).toHaveLength(2)
    expect(bed.demo.tokenRequests('refresh_token')).toHaveLength(refreshes + 1)
  })

  it('lets the SPA read the errors of agent and proxy', async () => {
    const page = await (await bed.newContext()).newPage()
    await page.goto(bed.demo.url)
    const answers = await page.evaluate(async (backend) => {
      const headers = { 'token-handler-version': '1' }
      const read = async (path: string, init: RequestInit): Promise<unknown> => {
        const response = await fetch(backend + path, { credentials: 'include', ...init })
        return [response.status, await response.json()]
      }
      return [
        await read('/api/none', {}),
        await read('/api/orders', { headers }),
        await read('/oauth-agent/none', { headers }),
        await read('/oauth-agent/session', {}),
      ]
    }, bed.demo.backendUrl)
    expect(answers).toEqual([
      [404, expect.objectContaining({ code: 'not_found' })],
      [401, expect.objectContaining({ code: 'session_missing' })],
      [404, expect.objectContaining({ error_code: 'not_found' })],
      [403, expect.objectContaining({ error_code: 'missing_header' })],
    ])
  })

  it('does not let a document of the api host itself use the session: that origin is not trusted', async () => {
    // Answers of agent and proxy let no script run; this browser ignores that, as if an API served documents.
    const page = await bed.logIn({ bypassCSP: true })
    await page.goto(`${bed.demo.backendUrl}/oauth-agent/session`)
    const before = bed.demo.wire.requests.length
    const upstreamBefore = bed.demo.api.received.length
    const answer = await page.evaluate(async () => {
      const response = await fetch('/api/orders', { headers: { 'token-handler-version': '1' } })
      return { status: response.status, ...((await response.json()) as { code: string }) }
    })
    expect(answer).toMatchObject({ status: 403, code: 'missing_origin' })
    const [call] = requestsSince(before).calls
    expect(call?.headers).toMatchObject({ 'sec-fetch-site': 'same-origin', cookie: expect.stringContaining('th-at-') })
    expect(bed.demo.api.received).toHaveLength(upstreamBefore)
  })
})
