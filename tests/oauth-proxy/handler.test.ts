import { afterEach, describe, expect, it } from '@jest/globals'
import { exchange, rawRequest } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'
import { publicOrigin, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('the OAuth Proxy', () => {
  let proxy: ProxyUnderTest
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(() => proxy.close())

  it('puts the access token of the cookie on the request and passes the answer on', async () => {
    const { session, upstream, call } = await start()
    const answer = await call('GET /api/orders?page=2&filter[x]=%20')
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ ok: true })
    expect(upstream.requests).toHaveLength(1)
    const [request] = upstream.requests
    expect(request?.method).toBe('GET')
    expect(request?.target).toBe('/api/orders?page=2&filter[x]=%20')
    expect(request?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
    expect(request?.values('cookie')).toEqual([])
  })

  it('streams a request body with its length', async () => {
    const { upstream, call } = await start()
    const answer = await call(
      'POST /api/orders',
      ['Content-Type: application/json', 'Content-Length: 10'],
      '{"item":1}',
    )
    expect(answer.status).toBe(200)
    expect(upstream.requests[0]?.body).toBe('{"item":1}')
    expect(upstream.requests[0]?.values('content-length')).toEqual(['10'])
    expect(upstream.requests[0]?.values('content-type')).toEqual(['application/json'])
  })

  it('replaces the public path by the upstream path', async () => {
    const { upstream, call } = await start({ routes: [{ upstreamPath: '/v1/shop' }] })
    for (const [asked, sent] of [
      ['/api', '/v1/shop'],
      ['/api/', '/v1/shop/'],
      ['/api/orders?x=/api', '/v1/shop/orders?x=/api'],
    ]) {
      await call(`GET ${asked}`)
      expect(upstream.requests.at(-1)?.target).toBe(sent)
    }
  })

  it('answers 404 for a path under no route, and the API sees nothing', async () => {
    const { upstream, call } = await start()
    const answer = await call('GET /other')
    expect(answer.status).toBe(404)
    expect(answer.json().code).toBe('not_found')
    expect(upstream.received()).toBe('')
  })

  it('answers 401 session_missing without a sid cookie', async () => {
    const { port, upstream } = await start()
    const answer = await exchange(
      port,
      rawRequest('GET /api/orders', ['Host: www.example.com', 'token-handler-version: 1']),
    )
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('session_missing')
    expect(answer.values('www-authenticate')).toEqual(['Bearer'])
    expect(upstream.received()).toBe('')
  })

  it.each(['POST', 'HEAD', 'OPTIONS', 'DELETE'])(
    '[F-MO-10] answers %s without a session by itself: nothing of the API, and the API sees nothing',
    async (method) => {
      const { port, upstream } = await start({
        routes: [{ methods: ['POST', 'HEAD', 'OPTIONS', 'DELETE'] }],
        script: { onRequest: () => answerText('canary of the API') },
      })
      const headers = [
        'Host: www.example.com',
        `Origin: ${publicOrigin}`,
        'token-handler-version: 1',
        'Content-Length: 3',
      ]
      const answer = await exchange(port, rawRequest(`${method} /api/orders`, headers, 'a=b'), { method })
      expect(answer.status).toBe(401)
      expect(answer.values('content-type')).toEqual(['application/json'])
      const ours = /^\{"code":"session_missing","message":"[^"]+"\}$/
      expect(answer.body).toMatch(method === 'HEAD' ? /^$/ : ours)
      expect(answer.raw).not.toContain('canary')
      expect(upstream.received()).toBe('')
    },
  )

  it('[D-SEC-08] answers without HTML, and with nothing of the request, whatever it is refused for', async () => {
    const { port, spaHeaders } = await start()
    const markup = '<img/src=x>'
    const encoded = encodeURIComponent(markup)
    for (const [target, headers] of [
      [`/nowhere/${encoded}`, spaHeaders],
      [`/nowhere/${markup}`, spaHeaders],
      [`/api/x;${markup}`, spaHeaders],
      [`/api/%zz${markup}?${markup}`, spaHeaders],
      [`/api/x?${markup}`, [`Host: ${markup}`]],
      [`/api/x?${markup}`, ['Host: a', `Origin: https://${markup}`]],
      [`/api/x?${markup}`, ['Host: a', `Origin: ${publicOrigin}`, 'token-handler-version: 1', `Cookie: a=${markup}`]],
    ] as const) {
      const answer = await exchange(port, rawRequest(`GET ${target}`, headers))
      expect([target, answer.status >= 400, answer.values('content-type')]).toEqual([
        target,
        true,
        ['application/json'],
      ])
      expect(answer.raw).not.toMatch(/<img|%3Cimg/i)
    }
  })

  it('answers 401 access_token_expired when the sealed expiry is over, whatever the cookie says', async () => {
    const { clock, call, upstream } = await start()
    clock.advanceSeconds(301)
    const answer = await call('GET /api/orders')
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('access_token_expired')
    expect(answer.values('www-authenticate')).toEqual(['Bearer error="invalid_token"'])
    expect(upstream.received()).toBe('')
  })

  it('answers 401 session_ended when a rule ends the session', async () => {
    const { clock, rules, session, call, upstream } = await start()
    clock.advanceSeconds(1)
    rules.add({ key: `sid:${session.sid}`, before: clock.now(), reason: 'logout', expiresAt: clock.now() + 60_000 })
    const answer = await call('GET /api/orders')
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('session_ended')
    expect(upstream.received()).toBe('')
  })

  it('ends by a rule about the key that sealed the cookie', async () => {
    const { clock, rules, kit, call, upstream } = await start()
    clock.advanceSeconds(1)
    const rule = { before: clock.now(), reason: 'revoked', expiresAt: clock.now() + 60_000 } as const
    rules.add({ key: 'kid:another', ...rule })
    expect((await call('GET /api/orders')).status).toBe(200)
    rules.add({ key: `kid:${kit.kid}`, ...rule })
    expect((await call('GET /api/orders')).json().code).toBe('session_ended')
    expect(upstream.requests).toHaveLength(1)
  })

  it('[G-6] answers 503 store_unavailable while ends of sessions may have been missed for a minute', async () => {
    const { clock, rules, missed, session, call, upstream } = await start()
    missed.forMs = 60_000
    expect((await call('GET /api/orders')).status).toBe(200)
    missed.forMs = 60_001
    const answer = await call('GET /api/orders')
    expect([answer.status, answer.json().code, answer.values('retry-after')]).toEqual([503, 'store_unavailable', ['2']])
    expect(upstream.requests).toHaveLength(1)
    clock.advanceSeconds(1)
    rules.add({ key: `sid:${session.sid}`, before: clock.now(), reason: 'logout', expiresAt: clock.now() + 60_000 })
    expect((await call('GET /api/orders')).json().code).toBe('session_ended')
    missed.forMs = 0
    expect((await call('GET /api/orders')).json().code).toBe('session_ended')
  })
})
