import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { json } from './scripted-agent.ts'
import { useTestBed } from './test-page.ts'

const bed = useTestBed()
const REFRESH = 'POST /oauth-agent/refresh'

/** A page whose access token has so many of its 300 seconds left. */
async function openWith(secondsLeft: number): Promise<Page> {
  bed.server.agent.times = { ...bed.server.agent.times, access_token_expires_in: secondsLeft }
  return bed.logIn()
}

function call(page: Page): Promise<number> {
  return page.evaluate(async () => (await window.client.fetch('/api/orders')).status)
}

describe('early refresh', () => {
  it('happens with the first call after 80 % of the life, which does not wait for it', async () => {
    const page = await openWith(60)
    const held = bed.server.hold(REFRESH)
    expect(await call(page)).toBe(200)
    await held.arrived(1)
    bed.server.agent.times = { ...bed.server.agent.times, access_token_expires_in: 300 }
    held.release()
    await page.waitForFunction(() => (window.client.current?.accessTokenExpiresIn ?? 0) > 200)
    expect(await call(page)).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('does not happen before', async () => {
    const page = await openWith(70)
    expect(await call(page)).toBe(200)
    // The refresh would have gone out before this answer came.
    await page.evaluate(() => window.client.session())
    expect(bed.server.receivedAt(REFRESH)).toHaveLength(0)
  })

  it('does not happen without a call', async () => {
    const page = await openWith(60)
    await page.evaluate(() => window.client.session())
    expect(bed.server.receivedAt(REFRESH)).toHaveLength(0)
  })

  it.each([
    ['503', () => json(503, { error_code: 'refresh_pending' })],
    ['500', () => json(500, { error_code: 'server_error' })],
    ['403', () => json(403, { error_code: 'untrusted_origin' })],
    ['no JSON', () => ({ status: 200, body: 'ok' })],
    ['an old token’s seconds', () => json(200, { access_token_expires_in: 50, access_token_lifetime: 300 })],
  ])('may fail with %s: the calls go on with the old token, and the next try waits', async (_name, answer) => {
    const page = await openWith(60)
    bed.server.script(REFRESH, answer)
    expect(await call(page)).toBe(200)
    await page.waitForFunction(() =>
      performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/oauth-agent/refresh')),
    )
    for (let round = 0; round < 5; round += 1) expect(await call(page)).toBe(200)
    await page.evaluate(() => window.client.session())
    expect(bed.server.receivedAt(REFRESH)).toHaveLength(1)
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('tries again after the time that the agent named', async () => {
    const page = await openWith(60)
    const triedAt: number[] = []
    bed.server.script(REFRESH, () => {
      triedAt.push(performance.now())
      return triedAt.length === 1 ? json(503, { error_code: 'refresh_pending' }, [], { 'retry-after': '1' }) : undefined
    })
    const deadline = performance.now() + 10_000
    while (triedAt.length < 2 && performance.now() < deadline) expect(await call(page)).toBe(200)
    const [first = 0, second = 0] = triedAt
    expect(second - first).toBeGreaterThanOrEqual(1000)
  })

  it('that meets the end of the session tells so, and lets the call go on', async () => {
    const page = await openWith(60)
    let isOver = false
    bed.server.script(REFRESH, () => {
      isOver = true
      return json(401, { error_code: 'session_expired' })
    })
    bed.server.script('GET /oauth-agent/session', () => (isOver ? json(200, { is_logged_in: false }) : undefined))
    expect(await call(page)).toBe(200)
    await page.waitForFunction(() => window.changes.at(-1)?.reason === 'ended')
  })

  it('leaves no unhandled rejection behind', async () => {
    const page = await openWith(60)
    const errors: Error[] = []
    page.on('pageerror', (error) => errors.push(error))
    bed.server.script(REFRESH, () => json(500, {}))
    expect(await call(page)).toBe(200)
    await page.waitForFunction(() =>
      performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/oauth-agent/refresh')),
    )
    await page.evaluate(() => window.client.session())
    expect(errors).toEqual([])
  })
})

describe('refresh', () => {
  it('refreshes however young the token, once for simultaneous calls', async () => {
    const page = await bed.logIn()
    await page.evaluate(() => Promise.all([window.client.refresh(), window.client.refresh()]))
    expect(bed.server.agent.refreshes).toBe(1)
    await page.evaluate(() => window.client.refresh())
    expect(bed.server.agent.refreshes).toBe(2)
  })

  it('keeps the claims when the answer has times only', async () => {
    const page = await bed.logIn()
    const session = await page.evaluate(() => window.client.refresh())
    expect(session).toMatchObject({
      isLoggedIn: true,
      idTokenClaims: { sub: 'demo' },
      accessTokenExpiresIn: expect.closeTo(300, -1),
    })
  })

  it('completes at the server though the page is left meanwhile, and the browser keeps the new cookies', async () => {
    const page = await bed.logIn()
    const held = bed.server.hold(REFRESH)
    await page.evaluate(() => void window.client.refresh())
    await held.arrived(1)
    await page.goto('about:blank')
    held.release()
    const deadline = Date.now() + 10_000
    let generations: string[] = []
    while (!generations.includes('2') && Date.now() < deadline) {
      const cookies = await bed.context.cookies(`${bed.server.origin}/oauth-agent/`)
      generations = cookies.filter(({ name }) => name.includes('-rt-')).map(({ value }) => value)
    }
    expect(generations).toEqual(['2'])
  })

  it('that ends after a logout does not bring the session back', async () => {
    const page = await bed.logIn()
    const held = bed.server.hold(REFRESH)
    const refreshing = page.evaluate(() => window.client.refresh().catch(() => undefined))
    await held.arrived(1)
    await page.evaluate(() => window.client.logout({ navigate: false }))
    held.release()
    await refreshing
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(false)
  })
})
