import { afterEach, describe, expect, it } from '@jest/globals'
import { createOAuthProxy, type RouteOptions } from '@token-handler/oauth-proxy'
import { RuleSet, silentLogger } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { exchange, rawRequest } from '../support/raw-client.ts'
import { createSessionKit } from '../support/session-cookies.ts'
import { publicOrigin, routeTo, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('routes', () => {
  let proxy: ProxyUnderTest | undefined
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(async () => {
    await proxy?.close()
    proxy = undefined
  })

  it('[D-PATH-06] [F-HP-5] match on segments, never on a part of one', async () => {
    const { call } = await start()
    expect((await call('GET /api/x')).status).toBe(200)
    for (const target of ['/apix', '/api.x', '/x/api', '/xapi/api', '/ap', '/']) {
      expect((await call(`GET ${target}`)).status).toBe(404)
    }
  })

  it('[D-PATH-06] take no part of the host into account', async () => {
    const { port, upstream } = await start()
    const answer = await exchange(port, rawRequest('GET /x', ['Host: evil.example/api', 'token-handler-version: 1']))
    expect(answer.status).toBe(404)
    expect(upstream.received()).toBe('')
  })

  it('let the longest one win, whatever their order', async () => {
    const { call, upstream } = await start({
      routes: [
        { path: '/api/orders/open', upstreamPath: '/open' },
        { path: '/api', upstreamPath: '/all' },
        { path: '/api/orders', upstreamPath: '/orders' },
      ],
    })
    for (const [asked, sent] of [
      ['/api/x', '/all/x'],
      ['/api/orders', '/orders'],
      ['/api/orders/1', '/orders/1'],
      ['/api/orders/open/1', '/open/1'],
      ['/api/orders/opened', '/orders/opened'],
    ]) {
      await call(`GET ${asked}`)
      expect(upstream.requests.at(-1)?.target).toBe(sent)
    }
  })

  it('keep what lies between them and a longer one', async () => {
    const { call, upstream } = await start({
      routes: [
        { path: '/api', upstreamPath: '/all' },
        { path: '/api/team/a/orders', upstreamPath: '/orders' },
      ],
    })
    for (const [asked, sent] of [
      ['/api/team', '/all/team'],
      ['/api/team/a/x', '/all/team/a/x'],
      ['/api/team/b/orders', '/all/team/b/orders'],
      ['/api/team/a/orders/1', '/orders/1'],
    ]) {
      await call(`GET ${asked}`)
      expect(upstream.requests.at(-1)?.target).toBe(sent)
    }
  })

  it('can be the root', async () => {
    const { call, upstream } = await start({ routes: [{ path: '/', upstreamPath: '/v1' }] })
    await call('GET /orders')
    await call('GET /')
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/v1/orders', '/v1/'])
  })

  it('[A-18] [D-SSRF-03] send the bearer of one API to no other', async () => {
    const other = await startProxy()
    try {
      const { call, session, upstream } = await start({
        routes: [{}, { path: '/other', upstream: other.upstream.origin, session: 'none' }],
      })
      await call('GET /api/x')
      await call('GET /other/x')
      for (const target of ['/elsewhere', `/${other.upstream.origin}/x`, `/apis/${other.upstream.port}`]) {
        expect([400, 404]).toContain((await call(`GET ${target}`)).status)
      }
      expect(upstream.requests.map(({ target }) => target)).toEqual(['/api/x'])
      expect(other.upstream.requests.map(({ target }) => target)).toEqual(['/other/x'])
      expect(other.upstream.received()).not.toContain(session.accessToken)
    } finally {
      await other.close()
    }
  })

  it('answer 405 with Allow to a method that is not theirs', async () => {
    const { call, upstream } = await start({ routes: [{ methods: ['GET', 'POST'] }] })
    const answer = await call('DELETE /api/x')
    expect(answer.status).toBe(405)
    expect(answer.json().code).toBe('method_not_allowed')
    expect(answer.values('allow')).toEqual(['GET, POST'])
    expect((await call('HEAD /api/x')).status).toBe(405)
    expect((await call('OPTIONS /api/x')).status).toBe(405)
    expect(upstream.received()).toBe('')
  })

  it('[A-20] answer 405 with Allow to every method but theirs, and the API sees nothing of it', async () => {
    const { call, upstream } = await start({ routes: [{ methods: ['GET', 'PATCH'] }] })
    for (const method of ['GET', 'PATCH']) expect((await call(`${method} /api/x`)).status).toBe(200)
    const before = upstream.received()
    for (const method of ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']) {
      const answer = await call(`${method} /api/x`)
      expect([method, answer.status, answer.values('allow')]).toEqual([method, 405, ['GET, PATCH']])
    }
    expect((await call('INVENTED /api/x')).status).toBe(400)
    expect((await call('CONNECT /api/x')).status).toBe(405)
    expect(upstream.received()).toBe(before)
  })

  it('forward OPTIONS only where it is one of their methods', async () => {
    const { call, upstream } = await start({ routes: [{ methods: ['OPTIONS'] }] })
    expect((await call('OPTIONS /api/x')).status).toBe(200)
    expect(upstream.requests[0]?.method).toBe('OPTIONS')
  })

  const refusedRoutes: [string, Partial<RouteOptions>][] = [
    ['credentials', { upstream: 'http://user:secret@api.internal' }],
    ['a path', { upstream: 'http://api.internal/v1' }],
    ['a query', { upstream: 'http://api.internal?x' }],
    ['a fragment', { upstream: 'http://api.internal#x' }],
    ['another scheme', { upstream: 'ftp://api.internal' }],
    ['no URL', { upstream: 'api.internal' }],
    ['dot segments', { path: '/api/../x' }],
    ['a slash at the end', { path: '/api/' }],
    ['dot segments upstream', { upstreamPath: '/v1/..' }],
    ['TRACE', { methods: ['GET', 'TRACE'] }],
    ['CONNECT', { methods: ['CONNECT'] }],
    ['a quote in a scope', { scopes: ['a"b'] }],
  ]
  it.each(refusedRoutes)('[D-SSRF-04] do not start with %s', (_what, route) => {
    expect(() => createWith([route])).toThrow(TypeError)
  })

  it('do not start with a path twice', () => {
    expect(() => createWith([{}, {}])).toThrow('two routes have the path /api')
  })

  it.each(['proxy.internal', '10.0.0.0/33', '10.0.0.0/x', ''])('do not start with a trusted proxy "%s"', (entry) => {
    expect(() => createWith([{}], [entry])).toThrow('neither an IP address nor a CIDR block')
  })
})

function createWith(routes: Partial<RouteOptions>[], trustedProxies: readonly string[] = []): unknown {
  const clock = fakeClock()
  const { settings, sealer } = createSessionKit(clock)
  return createOAuthProxy({
    options: {
      publicOrigin,
      trustedOrigins: new Set([publicOrigin]),
      cookies: settings,
      routes: routes.map((route) => routeTo('http://127.0.0.1:9', route)),
      trustedProxies,
    },
    sealer,
    rules: new RuleSet(clock),
    clock,
    logger: silentLogger,
  })
}
