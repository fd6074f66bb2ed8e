import { createSecretKey, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { sealUnder } from '@token-handler/shared'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import type { TestSession } from '../support/session-cookies.ts'
import { until } from '../support/until.ts'
import { StagedTokens } from './staged-tokens.ts'
import { publicOrigin, startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

let proxy: ProxyUnderTest
let tokens: StagedTokens

beforeEach(async () => {
  tokens = new StagedTokens()
  proxy = await startProxy({ tokens })
})
afterEach(() => proxy.close())

const rawCall = ({ cookie }: TestSession, line = 'GET /api/x', body = ''): string =>
  rawRequest(line, ['Host: a', `Origin: ${publicOrigin}`, 'token-handler-version: 1', `Cookie: ${cookie}`], body)
const call = (session: TestSession, line?: string, body?: string): Promise<RawAnswer> =>
  exchange(proxy.port, rawCall(session, line, body))
const bearers = (): string[] => proxy.upstream.requests.flatMap((request) => request.values('authorization'))

describe('an access token that the ledger holds', () => {
  it('reaches the API, however large, and is asked for once', async () => {
    const session = tokens.session(proxy.kit)
    expect((await call(session)).status).toBe(200)
    expect((await call(session)).status).toBe(200)
    expect(bearers()).toEqual([`Bearer ${session.bearer}`, `Bearer ${session.bearer}`])
    expect(tokens.asked).toEqual([session.ref])
  })

  it('is asked for once by many who come at the same time', async () => {
    const session = tokens.session(proxy.kit)
    const release = tokens.hold()
    const calls = Promise.all(Array.from({ length: 10 }, () => call(session)))
    await until('one asks', () => tokens.asked.length > 0)
    release()
    expect((await calls).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
    expect(tokens.asked).toHaveLength(1)
  })

  it('takes the body of its request along', async () => {
    await exchange(
      proxy.port,
      rawCall(tokens.session(proxy.kit), 'POST /api/x', 'a body that waited').replace(
        'Host: a',
        'Host: a\r\nContent-Length: 18',
      ),
    )
    expect(proxy.upstream.requests[0]?.body).toContain('a body that waited')
  })

  it('is never asked for where the cookie holds the token', async () => {
    expect((await call(proxy.session)).status).toBe(200)
    expect(tokens.asked).toEqual([])
  })

  it('is a reason to refresh when it is not there', async () => {
    const session = tokens.session(proxy.kit)
    tokens.answer = () => ({ state: 'absent' })
    const refused = await call(session)
    expect([refused.status, refused.json().code]).toEqual([401, 'access_token_expired'])
  })

  it('is a reason to refresh when it does not open, and is never sent', async () => {
    const session = tokens.session(proxy.kit)
    tokens.answer = () => ({ state: 'found', sealed: sealUnder(createSecretKey(randomBytes(32)), 'other') })
    expect((await call(session)).json().code).toBe('access_token_expired')
    expect(proxy.upstream.received()).toBe('')
    expect(proxy.log.map(({ fields }) => fields['event'])).toContain('held_token_unreadable')
  })

  it('is unknown, not absent, while the store is away: 503 until it answers', async () => {
    const session = tokens.session(proxy.kit)
    const found = tokens.answer
    tokens.answer = () => ({ state: 'unknown' })
    const refused = await call(session)
    expect([refused.status, refused.json().code, refused.values('retry-after')]).toEqual([
      503,
      'store_unavailable',
      ['2'],
    ])
    tokens.answer = found
    expect((await call(session)).status).toBe(200)
  })

  it('serves on from memory while the store is away', async () => {
    const session = tokens.session(proxy.kit)
    await call(session)
    tokens.answer = () => ({ state: 'unknown' })
    expect((await call(session)).status).toBe(200)
  })

  it('is not served from memory past a rule or its expiry', async () => {
    const session = tokens.session(proxy.kit)
    await call(session)
    const far = proxy.clock.now() + 3_600_000
    proxy.rules.add({ key: `sid:${session.sid}`, before: Infinity, reason: 'logout', expiresAt: far })
    expect((await call(session)).json().code).toBe('session_ended')
    const second = tokens.session(proxy.kit)
    await call(second)
    proxy.clock.advanceSeconds(301)
    expect((await call(second)).json().code).toBe('access_token_expired')
  })

  it('is not used when the session was ended while it was fetched', async () => {
    const session = tokens.session(proxy.kit)
    const release = tokens.hold()
    const waiting = call(session)
    await until('it is asked for', () => tokens.asked.length > 0)
    const far = proxy.clock.now() + 3_600_000
    proxy.rules.add({ key: `sid:${session.sid}`, before: Infinity, reason: 'logout', expiresAt: far })
    release()
    expect((await waiting).json().code).toBe('session_ended')
    expect(proxy.upstream.received()).toBe('')
  })

  it('goes nowhere when the client has gone', async () => {
    const session = tokens.session(proxy.kit)
    const release = tokens.hold()
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write(rawCall(session))
    await until('it is asked for', () => tokens.asked.length > 0)
    socket.destroy()
    await until('the proxy sees it', async () => (await connectionsOf(proxy)) === 0)
    release()
    expect((await call(proxy.session)).status).toBe(200)
    expect(bearers()).toEqual([`Bearer ${proxy.session.accessToken}`])
  })

  it('is forgotten for others when memory is full', async () => {
    const first = tokens.session(proxy.kit, 3_000_000)
    await call(first)
    const found = tokens.answer
    for (let more = 0; more < 3; more++) await call(tokens.session(proxy.kit, 3_000_000))
    tokens.answer = found
    await call(first)
    expect(tokens.asked.filter((reference) => reference === first.ref)).toHaveLength(2)
  })

  it('cannot be had by a proxy that was given no ledger', async () => {
    const without = await startProxy()
    const session = without.kit.session({ at: undefined, held: { ref: 'r', k: randomBytes(32).toString('base64url') } })
    const refused = await exchange(without.port, rawCall(session))
    expect([refused.status, refused.json().code]).toEqual([503, 'store_unavailable'])
    await without.close()
  })
})

const connectionsOf = ({ server }: ProxyUnderTest): Promise<number> =>
  new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))))
