import { afterEach, describe, expect, it } from '@jest/globals'
import { ipKeyGenerator } from 'express-rate-limit'
import fc from 'fast-check'
import { createRateLimiter, networkOf } from '../../oauth-proxy/src/rate-limit.ts'
import { fakeClock } from '../support/clock.ts'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { publicOrigin, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('a token bucket', () => {
  it('is full at first, and then fills up evenly', () => {
    const clock = fakeClock()
    const limiter = createRateLimiter({ requests: 3, windowSeconds: 60 }, clock)
    expect([1, 2, 3, 4].map(() => limiter('a'))).toEqual([0, 0, 0, 20])
    clock.advanceSeconds(19)
    expect(limiter('a')).toBe(1)
    clock.advanceSeconds(1)
    expect([limiter('a'), limiter('a')]).toEqual([0, 20])
    clock.advanceSeconds(3600)
    expect([1, 2, 3, 4].map(() => limiter('a'))).toEqual([0, 0, 0, 20])
  })

  it('belongs to one key', () => {
    const limiter = createRateLimiter({ requests: 1, windowSeconds: 60 }, fakeClock())
    expect(['a', 'b', 'a', 'b'].map(limiter)).toEqual([0, 0, 60, 60])
  })

  it('does not notice that somebody sets the wall clock', () => {
    const clock = fakeClock()
    const limiter = createRateLimiter({ requests: 1, windowSeconds: 60 }, clock)
    expect(limiter('a')).toBe(0)
    clock.jump(86_400_000)
    expect(limiter('a')).toBe(60)
  })

  it('lets the whole number of requests through, however odd their spacing, and after Retry-After one more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 3600 }), (requests, windowSeconds) => {
        const clock = fakeClock()
        clock.advance(1e9 + 0.1)
        const limiter = createRateLimiter({ requests, windowSeconds }, clock)
        const waits = Array.from({ length: requests }, () => limiter('a'))
        expect(new Set(waits)).toEqual(new Set([0]))
        const wait = limiter('a')
        expect(wait).toBeGreaterThan(0)
        expect(wait).toBeLessThanOrEqual(windowSeconds)
        clock.advanceSeconds(wait)
        expect(limiter('a')).toBe(0)
      }),
      { numRuns: 100 },
    )
  })

  it('is forgotten for the oldest of 65,536 keys', () => {
    const limiter = createRateLimiter({ requests: 1, windowSeconds: 60 }, fakeClock())
    const waits = Array.from({ length: 65_537 }, (_, key) => limiter(String(key)))
    expect(new Set(waits)).toEqual(new Set([0]))
    expect(limiter('1')).toBe(60)
    expect(limiter('0')).toBe(0)
  })
})

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2ff::1', '2001:db8:1:2'],
    ['2001:db8::', '2001:db8::'],
    ['::1', ':::'],
    ['64:ff9b::192.0.2.1', '64:ff9b::'],
    ['2001:0DB8:1:200:0:0:0:5', '2001:db8:1:2'],
    ['', ''],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })

  it('is the /56 that the agent counts by, however an address is written', () => {
    const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }))
    // The first group is not 0: IPv4 addresses in IPv6 clothes are undressed before they come here.
    const groups = fc.tuple(fc.integer({ min: 1, max: 0xffff }), ...Array.from({ length: 7 }, () => group))
    const written = (list: readonly number[], isShort: boolean): string => {
      const long = list.map((value) => value.toString(16)).join(':')
      return isShort ? new URL(`http://[${long}]`).hostname.slice(1, -1) : long.toUpperCase()
    }
    fc.assert(
      fc.property(groups, groups, fc.integer({ min: 0, max: 8 }), fc.boolean(), (one, other, shared, isShort) => {
        const near = [...one.slice(0, shared), ...other.slice(shared)]
        const [first, second] = [written(one, isShort), written(near, !isShort)]
        const isSame = ipKeyGenerator(first, 56) === ipKeyGenerator(second, 56)
        expect(networkOf(first) === networkOf(second)).toBe(isSame)
      }),
      { numRuns: 500 },
    )
  })
})

describe('rate limits of the OAuth Proxy', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  const twoRequests = { requests: 2, windowSeconds: 60 }
  async function start(
    rateLimit: NonNullable<ProxySetup['options']>['rateLimit'],
    setup: ProxySetup = {},
  ): Promise<ProxyUnderTest> {
    proxy = await startProxy({ ...setup, options: { ...setup.options, rateLimit } })
    return proxy
  }
  async function statuses(calls: readonly (() => Promise<RawAnswer>)[]): Promise<number[]> {
    const found: number[] = []
    for (const call of calls) found.push((await call()).status)
    return found
  }
  const get = (...headers: string[]) => proxy.call('GET /api/x', headers)
  const as = (cookie: string) => () =>
    exchange(proxy.port, proxy.bytes('GET /api/x').replace(proxy.session.cookie, cookie))

  it('[D-LIM-09] answers 429 in JSON with Retry-After and CORS headers, and the API sees nothing of it', async () => {
    await start({ perSession: twoRequests })
    expect(await statuses([get, get])).toEqual([200, 200])
    const answer = await get()
    expect(answer.status).toBe(429)
    expect(answer.json()).toEqual({
      code: 'too_many_requests',
      message: 'Too many requests. Wait before the next one.',
    })
    expect(answer.values('retry-after')).toEqual(['30'])
    expect(answer.values('cache-control')).toEqual(['no-store'])
    expect(answer.values('access-control-allow-origin')).toEqual([publicOrigin])
    expect(answer.values('access-control-expose-headers')).toEqual(['Retry-After, WWW-Authenticate'])
    expect(answer.headers.filter(([name]) => /ratelimit/i.test(name))).toEqual([])
    expect(proxy.upstream.requests).toHaveLength(2)
  })

  it('[D-LIM-09] serves again after Retry-After', async () => {
    await start({ perSession: twoRequests })
    expect(await statuses([get, get, get])).toEqual([200, 200, 429])
    proxy.clock.advanceSeconds(30)
    expect(await statuses([get, get])).toEqual([200, 429])
  })

  it('[D-LIM-09] counts each session for itself, and says in the log which one', async () => {
    await start({ perSession: twoRequests })
    const other = proxy.kit.session()
    expect(await statuses([get, get, get, as(other.cookie), as(other.cookie), as(other.cookie)])).toEqual([
      200, 200, 429, 200, 200, 429,
    ])
    const limited = proxy.log.filter(({ fields }) => fields['code'] === 'too_many_requests')
    expect(limited.map(({ fields }) => fields['session'])).toEqual([
      proxy.session.sid.slice(0, 8),
      other.sid.slice(0, 8),
    ])
    expect(JSON.stringify(proxy.log)).not.toContain(other.sid)
  })

  it('[D-LIM-09] counts for a session only who has its cookies', async () => {
    await start({ perSession: twoRequests })
    const planted = proxy.session.cookie.replace(/(th-at-[^=]+=).*/, '$1damaged')
    expect(await statuses([as(planted), as(planted), as(planted)])).toEqual([401, 401, 401])
    expect(await statuses([get, get])).toEqual([200, 200])
  })

  it('[D-LIM-09] counts an address whether or not it has a session, before cookies are opened', async () => {
    await start({ perAddress: twoRequests })
    expect(await statuses([get, as('a=b'), as('a=b'), get])).toEqual([200, 401, 429, 429])
    const [limited] = proxy.log.filter(({ fields }) => fields['code'] === 'too_many_requests')
    expect(limited?.fields).toMatchObject({ address: '127.0.0.1', ignoredForwardedFor: false, status: 429 })
  })

  it('[D-LIM-09] counts on routes without session too', async () => {
    await start({ perAddress: twoRequests, perSession: twoRequests }, { routes: [{ session: 'none' }] })
    expect(await statuses([get, get, get])).toEqual([200, 200, 429])
  })

  it('[D-LIM-09] does not count what another site’s page makes a browser send, nor preflights', async () => {
    await start({ perAddress: twoRequests })
    const forged = (header: string) => () =>
      exchange(proxy.port, rawRequest('GET /api/x', ['Host: www.example.com', header]))
    const crossSite = forged('Sec-Fetch-Site: cross-site')
    const untrusted = forged('Origin: https://evil.example')
    const preflight = () =>
      exchange(
        proxy.port,
        rawRequest('OPTIONS /api/x', ['Host: a', `Origin: ${publicOrigin}`, 'Access-Control-Request-Method: GET']),
        { method: 'OPTIONS' },
      )
    expect(await statuses([crossSite, crossSite, crossSite, untrusted])).toEqual([403, 403, 403, 403])
    expect(await statuses([preflight, preflight, preflight])).toEqual([204, 204, 204])
    expect(await statuses([get, get, get])).toEqual([200, 200, 429])
  })

  it('[D-LIM-09] cannot be evaded by a made-up X-Forwarded-For', async () => {
    await start({ perAddress: twoRequests })
    const from = (address: string) => () => get(`X-Forwarded-For: ${address}`, `Forwarded: for=${address}`)
    expect(await statuses(['192.0.2.1', '192.0.2.2', '192.0.2.3', '10.0.0.1'].map(from))).toEqual([200, 200, 429, 429])
    expect(proxy.log.at(-1)?.fields).toMatchObject({ address: '127.0.0.1', ignoredForwardedFor: true })
  })

  it('[D-LIM-09] counts the clients of a trusted proxy apart, and nobody can use up what another one has', async () => {
    await start({ perAddress: twoRequests }, { options: { trustedProxies: ['127.0.0.1', '10.0.0.0/8'] } })
    const from = (chain: string) => () => get(`X-Forwarded-For: ${chain}`)
    const attacker = ['203.0.113.9', '192.0.2.1, 203.0.113.9', '192.0.2.1, 203.0.113.9, 10.0.0.2', 'x, 203.0.113.9']
    expect(await statuses(attacker.map(from))).toEqual([200, 200, 429, 429])
    expect(await statuses(['192.0.2.1', '192.0.2.1', '192.0.2.1'].map(from))).toEqual([200, 200, 429])
    const near = ['2001:db8:0:7:1::1', '2001:db8:0:8:2::2', '2001:db8:0:ff::3', '2001:db8:0:100::1']
    expect(await statuses(near.map(from))).toEqual([200, 200, 429, 200])
  })

  it('there are none unless they are configured', async () => {
    await start(undefined)
    expect(await statuses(Array.from({ length: 20 }, () => get))).toEqual(Array.from({ length: 20 }, () => 200))
  })
})
