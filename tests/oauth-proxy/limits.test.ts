import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'
import { serverOptions } from '@token-handler/oauth-proxy'

describe('limits', () => {
  let proxy: ProxyUnderTest
  const clients: RawClient[] = []
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await proxy.close()
  })

  async function open(): Promise<RawClient> {
    const client = await openClient(proxy.port)
    clients.push(client)
    return client
  }

  it('[D-LIM-01] are set by us, not by the runtime', async () => {
    const { server } = await start()
    expect(server.headersTimeout).toBe(20_000)
    expect(server.requestTimeout).toBe(300_000)
    expect(server.keepAliveTimeout).toBe(65_000)
    expect(server.timeout).toBe(60_000)
    // Fewer where the machine allows few open files.
    expect(server.maxConnections).toBeLessThanOrEqual(20_000)
    expect(server.maxHeadersCount).toBe(0)
    expect(serverOptions.maxHeaderSize).toBe(16_384)
  })

  it('[D-LIM-01] answer 408 to a head that never ends, and to a client that says nothing, while others are served', async () => {
    await start({
      options: {},
      server: { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 50 },
    })
    const drip = await open()
    const silent = await open()
    drip.send('GET /api/x HTTP/1.1\r\nHost: a\r\n')
    const dripping = setInterval(() => drip.send('X-A: 1\r\n'), 50)
    expect((await proxy.call('GET /api/x')).status).toBe(200)
    const answer = await drip.answer()
    clearInterval(dripping)
    expect(answer.status).toBe(408)
    expect(answer.json().code).toBe('request_timeout')
    await Promise.all([drip.closed(), silent.closed()])
    expect((await proxy.call('GET /api/x')).status).toBe(200)
  })

  it('[D-LIM-01] answer 408 to a body that never ends, and let the API go', async () => {
    await start({ server: { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 50 } })
    const client = await open()
    client.send(proxy.bytes('POST /api/x', ['Content-Length: 1000']))
    const dripping = setInterval(() => client.send('x'), 50)
    const answer = await client.answer()
    clearInterval(dripping)
    expect(answer.status).toBe(408)
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it('[D-LIM-01] serve an honest client beside a thousand idle ones', async () => {
    await start()
    await Promise.all(Array.from({ length: 1000 }, () => open()))
    expect((await proxy.call('GET /api/x')).status).toBe(200)
  })

  it('[D-LIM-02] answer 413 to a length over the route’s limit before a byte of it goes upstream', async () => {
    await start({ routes: [{ maxBodyBytes: 10 }] })
    const answer = await proxy.call('POST /api/x', ['Content-Length: 11'], 'x'.repeat(11))
    expect(answer.status).toBe(413)
    expect(answer.json().code).toBe('payload_too_large')
    expect(proxy.upstream.received()).toBe('')
    expect((await proxy.call('POST /api/x', ['Content-Length: 10'], 'x'.repeat(10))).status).toBe(200)
  })

  it('[D-LIM-02] answer 413 to chunks over the limit, counted as they come; the API never gets a whole request', async () => {
    await start({ routes: [{ maxBodyBytes: 10 }] })
    const client = await open()
    client.send(proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked'], '6\r\nabcdef\r\n'))
    await until('the first piece', () => proxy.upstream.received().includes('abcdef'))
    client.send('6\r\nabcdef\r\n')
    const answer = await client.answer()
    expect(answer.status).toBe(413)
    expect(answer.values('connection')).toEqual(['close'])
    const sending = setInterval(() => client.send(`10000\r\n${'x'.repeat(65_536)}\r\n`), 5)
    await client.closed()
    clearInterval(sending)
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it('[D-LIM-12] [F-RO-3] decompress nothing', async () => {
    await start()
    const answer = await proxy.call('POST /api/x', ['Content-Encoding: gzip', 'Content-Length: 4'], '\x1f\x8b\x08\xff')
    expect(answer.status).toBe(200)
    expect(proxy.upstream.requests[0]?.body).toBe('\x1f\x8b\x08\xff')
    expect(proxy.upstream.requests[0]?.values('content-encoding')).toEqual(['gzip'])
  })
})
