import { afterEach, describe, expect, it } from '@jest/globals'
import type { RouteOptions } from '@token-handler/oauth-proxy'
import type { AccessCookieClaims } from '@token-handler/shared'
import { exchange, type RawAnswer } from '../support/raw-client.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

describe('what a route asks of a session', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  async function call(
    route: Partial<RouteOptions>,
    claims: Partial<AccessCookieClaims> | ((now: number) => Partial<AccessCookieClaims>),
  ): Promise<RawAnswer> {
    proxy = await startProxy({ routes: [route] })
    const given = typeof claims === 'function' ? claims(Math.floor(proxy.clock.now() / 1000)) : claims
    const session = proxy.kit.session(given)
    return exchange(proxy.port, proxy.bytes('GET /api/x').replace(proxy.session.cookie, session.cookie))
  }

  function expectRefused(answer: RawAnswer, status: number, code: string, challenge: string): void {
    expect(answer.status).toBe(status)
    expect(answer.json().code).toBe(code)
    expect(answer.values('www-authenticate')).toEqual([challenge])
    expect(proxy.upstream.received()).toBe('')
  }

  it('lets a session pass that has all scopes', async () => {
    const answer = await call({ scopes: ['orders', 'admin'] }, { scope: 'admin openid orders' })
    expect(answer.status).toBe(200)
  })

  it.each(['openid orders', 'openid administrator', '', 'ADMIN orders', undefined])(
    '[F-OP-3] answers 403 insufficient_scope and names the scopes when one is missing: %s',
    async (scope) => {
      expectRefused(
        await call({ scopes: ['orders', 'admin'] }, { scope } as Partial<AccessCookieClaims>),
        403,
        'insufficient_scope',
        'Bearer error="insufficient_scope", scope="orders admin"',
      )
    },
  )

  it.each([
    ['text', { role: 'clerk' }],
    ['a member of a list', { role: ['guest', 'clerk'] }],
  ])('lets a session pass whose claim is one of the accepted values: %s', async (_what, claims) => {
    expect((await call({ claims: { role: ['boss', 'clerk'] } }, { claims })).status).toBe(200)
  })

  it.each([
    ['another value', { email: 'user@evil.example' }],
    ['several at signs', { email: 'user@example.com@evil.example' }],
    ['another case', { email: 'User@Example.com' }],
    ['a look-alike letter', { email: 'us\u0435r@example.com' }],
    ['a longer value', { email: 'user@example.com.evil.example' }],
    ['a list of lists', { email: [['user@example.com']] }],
    ['an object', { email: { value: 'user@example.com' } }],
    ['none', {}],
  ])('[F-OP-3] [F-OP-8] answers 403 to a claim that is not exactly right: %s', async (_what, claims) => {
    expectRefused(
      await call({ claims: { email: ['user@example.com'] } }, { claims }),
      403,
      'insufficient_scope',
      'Bearer error="insufficient_scope"',
    )
  })

  it('lets a session pass that has one of the roles', async () => {
    expect((await call({ roles: ['admin', 'clerk'] }, { roles: ['guest', 'clerk'] })).status).toBe(200)
  })

  it.each([
    ['others', { roles: ['guest'] }],
    ['one that begins like it', { roles: ['clerks'] }],
    ['none', {}],
    ['a claim of that name alone', { claims: { roles: ['clerk'] } }],
  ])('answers 403 where the route asks for a role and the session has %s', async (_what, claims) => {
    expectRefused(
      await call({ roles: ['clerk'] }, claims),
      403,
      'insufficient_scope',
      'Bearer error="insufficient_scope"',
    )
  })

  it('compares claims with their type, and asks for every one', async () => {
    expect((await call({ claims: { verified: [true] } }, { claims: { verified: 'true' } })).status).toBe(403)
    await proxy.close()
    expect((await call({ claims: { a: [1], b: [2] } }, { claims: { a: 1 } })).status).toBe(403)
    await proxy.close()
    expect((await call({ claims: { a: [1], b: [2] } }, { claims: { a: 1, b: 2 } })).status).toBe(200)
  })

  it('takes no member of every object for a claim', async () => {
    const answer = await call({ claims: { constructor: [true], toString: ['x'] } }, { claims: {} })
    expect(answer.status).toBe(403)
  })

  it('[F-OP-3] answers 401 step_up_required and names the authentication context that is missing', async () => {
    expectRefused(
      await call({ acrValues: ['phr', 'phrh'] }, { acr: 'pwd' }),
      401,
      'step_up_required',
      'Bearer error="insufficient_user_authentication", acr_values="phr phrh"',
    )
    await proxy.close()
    expect((await call({ acrValues: ['phr', 'phrh'] }, { acr: 'phrh' })).status).toBe(200)
    await proxy.close()
    expect((await call({ acrValues: ['phr'] }, {})).status).toBe(401)
  })

  it('[F-OP-3] answers 401 step_up_required when the authentication is too old, or of unknown age', async () => {
    const challenge = 'Bearer error="insufficient_user_authentication", max_age="60"'
    expectRefused(
      await call({ maxAgeSeconds: 60 }, (now) => ({ auth_time: now - 61 })),
      401,
      'step_up_required',
      challenge,
    )
    await proxy.close()
    expectRefused(await call({ maxAgeSeconds: 60 }, {}), 401, 'step_up_required', challenge)
    await proxy.close()
    expect((await call({ maxAgeSeconds: 60 }, (now) => ({ auth_time: now - 60 }))).status).toBe(200)
  })

  it('says first what no login can mend', async () => {
    const answer = await call({ scopes: ['admin'], acrValues: ['phr'] }, {})
    expect(answer.json().code).toBe('insufficient_scope')
  })
})
