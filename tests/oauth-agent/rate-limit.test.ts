import { afterEach, describe, expect, it } from '@jest/globals'
import type { Request, Response } from 'express'
import type { OAuthAgentOptions } from '@token-handler/oauth-agent'
import { createPeers, silentLogger } from '@token-handler/shared'
import { limitByAddress } from '../../oauth-agent/src/rate-limit.ts'
import { fakeClock } from '../support/clock.ts'
import { generateCapabilitySigning, jwtCapability } from './capability-options.ts'
import { trustedOrigin, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

/** As a peer, the test is 127.0.0.1. */
const loopback = ['127.0.0.1']

describe('rate limits of the OAuth Agent', () => {
  let scripted: Scripted
  let browser: Browser
  afterEach(() => scripted.close())

  async function start(requests: number, options: Partial<OAuthAgentOptions> = {}): Promise<void> {
    scripted = await startScripted({ options: { rateLimit: { requests, windowSeconds: 60 }, ...options } })
    browser = scripted.agent.browser()
  }
  async function statuses(calls: readonly (() => Promise<AgentAnswer>)[]): Promise<number[]> {
    const found: number[] = []
    for (const call of calls) found.push((await call()).status)
    return found
  }
  const refresh = () => browser.post('refresh')
  const from = (chain: string) => () => browser.post('refresh', undefined, { 'x-forwarded-for': chain })

  it('[D-LIM-09] answers 429 too_many_requests with Retry-After, CORS headers and no-store', async () => {
    await start(1)
    expect(await statuses([refresh])).toEqual([401])
    scripted.clock.advance(20_500)
    const answer = await refresh()
    expect(answer.status).toBe(429)
    expect(answer.json).toEqual({ error_code: 'too_many_requests' })
    expect(answer.setCookies).toEqual([])
    expect(answer.headers.get('retry-after')).toBe('40')
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('access-control-allow-origin')).toBe(trustedOrigin)
    expect(answer.headers.get('access-control-expose-headers')).toBe('Retry-After, WWW-Authenticate')
    expect([...answer.headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([])
  })

  it('[D-LIM-09] counts beginnings and ends of logins and refreshes together, and asks nobody about one too many', async () => {
    await start(4)
    const { answer } = await scripted.logIn(browser)
    expect(answer.status).toBe(200)
    expect(await statuses([refresh, refresh])).toEqual([200, 200])
    expect(await statuses([refresh, () => browser.post('login/start'), () => browser.post('login/end')])).toEqual([
      429, 429, 429,
    ])
    expect(scripted.server.count('token', 'refresh_token')).toBe(2)
  })

  it('[D-LIM-09] serves again after Retry-After, whatever the wall clock did', async () => {
    await start(1)
    expect(await statuses([refresh, refresh])).toEqual([401, 429])
    scripted.clock.jump(3_600_000)
    expect(await statuses([refresh])).toEqual([429])
    scripted.clock.advanceSeconds(60)
    expect(await statuses([refresh, refresh])).toEqual([401, 429])
  })

  it('[D-LIM-09] lets the session be asked ten times as often, and never refuses a logout', async () => {
    await start(1)
    const ask = () => browser.get('session')
    expect(await statuses([...Array.from({ length: 10 }, () => ask), ask])).toEqual([
      ...Array.from({ length: 10 }, () => 200),
      429,
    ])
    expect(await statuses(Array.from({ length: 12 }, () => () => browser.post('logout')))).not.toContain(429)
  })

  it('[D-LIM-09] counts capabilities with them, and judges no session for one too many', async () => {
    await start(4, { capabilities: [jwtCapability], capabilitySigning: generateCapabilitySigning() })
    const ask = () => browser.post('capabilities/realtime')
    expect(await statuses([ask, ask])).toEqual([401, 401])
    expect((await scripted.logIn(browser)).answer.status).toBe(200)
    const answer = await ask()
    expect([answer.status, answer.json, answer.headers.get('retry-after')]).toEqual([
      429,
      { error_code: 'too_many_requests' },
      '60',
    ])
  })

  it('[D-LIM-09] does not count what another site’s page makes a browser send', async () => {
    await start(1)
    const forged = () => browser.post('refresh', undefined, { origin: 'https://evil.example' })
    expect(await statuses([forged, forged, forged, refresh, refresh])).toEqual([403, 403, 403, 401, 429])
  })

  it('[D-LIM-09] cannot be evaded by a made-up X-Forwarded-For', async () => {
    await start(2)
    expect(await statuses(['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(from))).toEqual([401, 401, 429])
  })

  it('[D-LIM-09] counts the clients of a trusted proxy apart, and nobody can use up what another one has', async () => {
    await start(2, { trustedProxies: loopback })
    const attacker = ['203.0.113.9', '192.0.2.1, 203.0.113.9', '192.0.2.1,203.0.113.9', '203.0.113.9:4711']
    expect(await statuses(attacker.map(from))).toEqual([401, 401, 429, 429])
    expect(await statuses(['192.0.2.1', '192.0.2.1', '192.0.2.1'].map(from))).toEqual([401, 401, 429])
  })

  it('[D-LIM-09] counts IPv6 addresses by their /56', async () => {
    await start(2, { trustedProxies: loopback })
    const near = ['2001:db8:0:7:1::1', '2001:db8:0:8:2::2', '2001:db8:0:ff::3', '2001:db8:0:100::1']
    expect(await statuses(near.map(from))).toEqual([401, 401, 429, 401])
  })

  it('names an address once a window in the log, and a proxy that may be missing in the configuration', async () => {
    await start(1)
    expect(await statuses(['192.0.2.1', '192.0.2.1', '192.0.2.1'].map(from))).toEqual([401, 429, 429])
    const lines = scripted.agent.log().trim().split('\n')
    const limited = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(limited.filter(({ event }) => event === 'rate_limited')).toMatchObject([
      { address: '127.0.0.1', ignoredForwardedFor: true, requests: 1, windowSeconds: 60 },
    ])
  })
})

describe('what is counted', () => {
  it('is forgotten for the oldest of 65,536 addresses, and for no other one', async () => {
    const clock = fakeClock()
    const limiter = limitByAddress(
      { requests: 1, windowSeconds: 60 },
      { peers: createPeers([]), clock, logger: silentLogger },
    )
    /** The error that the request ends with, if it is not served. */
    const ask = (n: number): Promise<unknown> => {
      const remoteAddress = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
      const req = { headers: {}, socket: { remoteAddress } } as unknown as Request
      return new Promise((resolve) => void limiter(req, {} as Response, resolve))
    }
    const first = await Promise.all(Array.from({ length: 65_537 }, (_, n) => ask(n)))
    expect(new Set(first)).toEqual(new Set([undefined]))
    expect(await ask(1)).toMatchObject({ code: 'too_many_requests', retryAfterSeconds: 60 })
    expect(await ask(0)).toBeUndefined()
  })
})
