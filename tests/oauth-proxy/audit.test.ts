import { afterEach, describe, expect, it } from '@jest/globals'
import { identityHash } from '@token-handler/shared'
import { sessionRule } from '../../shared/src/ledger/protocol.ts'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { exchange, openClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { handshake, startEchoServer } from '../support/websocket.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('what the OAuth Proxy records', () => {
  let proxy: ProxyUnderTest
  let audit: KeptAudit
  afterEach(() => proxy.close())

  async function start(setup: ProxySetup = {}, recordsRequests = false): Promise<void> {
    audit = keptAudit({ recordsRequests })
    proxy = await startProxy({ ...setup, audit })
  }
  const aboutSession = () => ({
    sid: proxy.session.sid,
    subjectHash: identityHash('https://as.example', 'user-1'),
    address: '127.0.0.1',
    route: '/api',
  })

  it('a request from an untrusted source, by the id that its answer carries', async () => {
    await start()
    const request = proxy.bytes('GET /api/x?code=secret').replace(/Origin: .*\r\n/, 'Origin: https://evil.example\r\n')
    const answer = await exchange(proxy.port, request)
    expect(answer.json().code).toBe('untrusted_origin')
    expect(audit.events).toEqual([
      {
        event: 'guard_refused',
        outcome: 'refused',
        reason: 'untrusted_origin',
        method: 'GET',
        status: 403,
        route: '/api',
        address: '127.0.0.1',
        sid: undefined,
        subjectHash: undefined,
        correlationId: answer.values('x-request-id')[0],
      },
    ])
  })

  it('a session that lacks what its route asks for', async () => {
    await start({ routes: [{ scopes: ['admin'] }] })
    await proxy.call('GET /api/x')
    const refused = { event: 'policy_refused', outcome: 'refused', reason: 'insufficient_scope', status: 403 }
    expect(audit.events).toMatchObject([{ ...refused, ...aboutSession() }])
  })

  it('the cookies of a session that was ended', async () => {
    await start()
    const { sid } = proxy.session
    proxy.rules.add(sessionRule(sid, 'logout', proxy.clock.now() + 60_000))
    await proxy.call('GET /api/x')
    expect(audit.events).toMatchObject([{ event: 'session_refused', reason: 'session_ended', ...aboutSession() }])
  })

  it('a session, and an address, that ask too often', async () => {
    await start({ options: { rateLimit: { perSession: { requests: 1, windowSeconds: 60 } } } })
    await proxy.call('GET /api/x')
    await proxy.call('GET /api/x')
    expect(audit.events).toMatchObject([{ event: 'rate_limited', reason: 'too_many_requests', ...aboutSession() }])
    await proxy.close()
    await start({ options: { rateLimit: { perAddress: { requests: 1, windowSeconds: 60 } } } })
    await proxy.call('GET /api/x')
    await proxy.call('GET /api/x')
    expect(audit.events).toMatchObject([{ event: 'rate_limited', address: '127.0.0.1', sid: undefined }])
  })

  it('nothing of a request that passes, of an expired token, and of a path that does not exist', async () => {
    await start()
    await proxy.call('GET /api/x')
    await proxy.call('GET /elsewhere')
    proxy.clock.advance(301_000)
    expect((await proxy.call('GET /api/x')).json().code).toBe('access_token_expired')
    expect(audit.events).toEqual([])
  })

  it('nothing while it blocks: requests are refused before anything is looked at', async () => {
    proxy = await startProxy({ audit: keptAudit({ isBlocking: true }) })
    const answer = await proxy.call('GET /api/x')
    expect([answer.status, answer.json().code, answer.values('retry-after')]).toEqual([503, 'audit_unavailable', ['2']])
    expect(proxy.upstream.received()).toBe('')
  })

  it('every request to an API, where that is wanted', async () => {
    await start({}, true)
    await proxy.call('GET /api/x?code=secret')
    await until('the record', () => audit.events.length === 1)
    expect(audit.events).toMatchObject([
      { event: 'request', outcome: 'success', method: 'GET', status: 200, ...aboutSession() },
    ])
  })

  it('every WebSocket once it is over, where that is wanted, and every one that is refused', async () => {
    const echo = await startEchoServer()
    await start({ routes: [{ upstream: echo.origin, webSocket: true }] }, true)
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/feed?code=secret', handshake))
    await client.receives('HTTP/1.1 101 ')
    expect(audit.events).toEqual([])
    client.destroy()
    await until('the record', () => audit.events.length === 1)
    expect(audit.events).toMatchObject([
      { event: 'request', outcome: 'success', method: 'GET', status: 101, ...aboutSession() },
    ])
    const hijack = proxy.bytes('GET /api/feed', handshake).replace(/Origin: .*\r\n/, 'Origin: https://evil.example\r\n')
    const refused = await exchange(proxy.port, hijack)
    expect(audit.events.slice(1)).toMatchObject([
      {
        event: 'guard_refused',
        outcome: 'refused',
        reason: 'untrusted_origin',
        route: '/api',
        correlationId: refused.values('x-request-id')[0],
      },
    ])
    await echo.close()
  })

  it('an event stream once it is over, ended by whoever', async () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
    await start({ script: { onRequest: () => head } }, true)
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/events'))
    await client.receives('\r\n\r\n')
    expect(audit.events).toEqual([])
    proxy.proxy.endStreams()
    await until('the record', () => audit.events.length === 1)
    expect(audit.events).toMatchObject([{ event: 'request', outcome: 'success', status: 200, ...aboutSession() }])
    client.destroy()
  })
})
