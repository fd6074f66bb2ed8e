import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient } from '../support/raw-client.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: eA==']
const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']

describe('requests to leave HTTP', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  it.each([
    ['[D-SM-11] h2c', 426, 'upgrade_required', h2c],
    ['[D-SM-11] [D-WS-06] another protocol', 426, 'upgrade_required', ['Connection: upgrade', 'Upgrade: foo/2']],
  ])('[D-SSRF-07] [F-FA-5] are refused and never forwarded: %s', async (_what, status, code, headers) => {
    proxy = await startProxy()
    for (const requestLine of ['GET /api/x', 'POST /api/x', 'GET /other', 'GET http://evil.example/api/x']) {
      const client = await openClient(proxy.port)
      client.send(proxy.bytes(requestLine, headers) + 'PRI * HTTP/2.0\r\n\r\n')
      const answer = await client.answer()
      expect(answer.status).toBe(status)
      expect(answer.json().code).toBe(code)
      expect(answer.values('upgrade')).toEqual(status === 426 ? ['websocket'] : [])
      await client.closed()
      expect(client.received).toBe('')
    }
    expect(proxy.upstream.received()).toBe('')
    expect(proxy.log.every(({ fields }) => fields['event'] === 'request_refused')).toBe(true)
  })

  it.each([
    ['a route that has none', 'GET /api/x', 400, 'invalid_request'],
    ['another method', 'POST /api/x', 400, 'invalid_request'],
    ['no route', 'GET /other', 404, 'not_found'],
    ['an absolute target', 'GET http://evil.example/api/x', 400, 'invalid_request'],
  ])('[D-SSRF-07] are refused and never forwarded: a WebSocket to %s', async (_what, requestLine, status, code) => {
    proxy = await startProxy()
    const client = await openClient(proxy.port)
    client.send(proxy.bytes(requestLine, handshake) + 'early frames')
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([status, code])
    await client.closed()
    expect(client.received).toBe('')
    expect(proxy.upstream.received()).toBe('')
  })

  it.each([
    ['h2c', 426, 'upgrade_required', h2c],
    ['a WebSocket', 400, 'invalid_request', handshake],
  ])('[D-SM-11] are refused where nobody listens for upgrades: %s', async (_what, status, code, headers) => {
    proxy = await startProxy()
    proxy.server.removeAllListeners('upgrade')
    const answer = await proxy.call('GET /api/x', headers)
    expect(answer.status).toBe(status)
    expect(answer.json().code).toBe(code)
    expect(proxy.upstream.received()).toBe('')
  })
})
