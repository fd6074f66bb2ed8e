import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { makeCertificates } from '../support/certificates.ts'
import { openClient, type RawAnswer } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { answerText, type Script } from '../support/upstream.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('when the API does not answer as it should', () => {
  let proxy: ProxyUnderTest
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(() => proxy.close())

  function expectError(answer: RawAnswer, status: number, code: string): void {
    expect(answer.status).toBe(status)
    expect(answer.values('content-type')).toEqual(['application/json'])
    expect(answer.values('cache-control')).toEqual(['no-store'])
    expect(answer.json().code).toBe(code)
    // [D-RL-05] Nothing of where the API is or what went wrong there.
    expect(answer.raw).not.toMatch(/127\.0\.0\.1|ECONN|ENOTFOUND|errno|undici|socket|certificate|at .*\.ts/)
    expect(answer.raw).not.toContain(String(proxy.upstream.port))
    expect(proxy.log.at(-1)?.fields).toMatchObject({ code, status, route: '/api' })
  }

  async function closedPort(): Promise<number> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  it('[D-RL-05] answers 502 upstream_unavailable when it refuses the connection', async () => {
    await start({ routes: [{ upstream: `http://127.0.0.1:${await closedPort()}` }] })
    expectError(await proxy.call('GET /api/x'), 502, 'upstream_unavailable')
  })

  it('[D-RL-05] answers 502 upstream_unavailable when its name is unknown', async () => {
    await start({ routes: [{ upstream: 'http://api.invalid' }] })
    expectError(await proxy.call('GET /api/x'), 502, 'upstream_unavailable')
  })

  it('[D-RL-05] answers 502 upstream_unavailable when nobody vouches for its certificate', async () => {
    const { server } = await makeCertificates(['127.0.0.1'])
    const api = createTlsServer({ cert: server.certificate, key: server.privateKey }, (_req, res) => res.end('reached'))
    api.listen(0, '127.0.0.1')
    await once(api, 'listening')
    try {
      await start({ routes: [{ upstream: `https://127.0.0.1:${(api.address() as AddressInfo).port}` }] })
      expectError(await proxy.call('GET /api/x'), 502, 'upstream_unavailable')
    } finally {
      api.close()
    }
  })

  it('answers 502 upstream_unavailable when it resets the connection before it answers', async () => {
    await start({ script: { onRequest: (_request, socket) => void socket.resetAndDestroy() } })
    expectError(await proxy.call('POST /api/x', ['Content-Length: 1'], 'x'), 502, 'upstream_unavailable')
    expect(proxy.upstream.requests).toHaveLength(1)
  })

  it('answers 502 upstream_unavailable when it hangs up before it answers', async () => {
    await start({ script: { onRequest: (_request, socket) => void socket.end() } })
    expectError(await proxy.call('DELETE /api/x'), 502, 'upstream_unavailable')
    expect(proxy.upstream.requests).toHaveLength(1)
  })

  it('sends a GET once more when its connection is dropped without a word, and only once', async () => {
    await start({
      script: {
        onRequest: ({ target }, socket) => {
          if (proxy.upstream.requests.length === 1 || target === '/api/never') socket.destroy()
          else return answerText('second')
          return undefined
        },
      },
    })
    expect((await proxy.call('GET /api/x')).body).toBe('second')
    expect(proxy.upstream.requests).toHaveLength(2)
    expectError(await proxy.call('GET /api/never'), 502, 'upstream_unavailable')
    expect(proxy.upstream.requests).toHaveLength(4)
  })

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9\r\n'],
    ['a head cut off', 'HTTP/1.1 200 OK\r\nContent-Len', true],
    ['a bad status', 'HTTP/1.1 2x0 OK\r\n\r\n'],
    ['a status out of range', 'HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a second coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n'],
    ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\nab'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['NUL in a header', 'HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n'],
    ['a bare CR in a header', 'HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: x\r\nContent-Length: 0\r\n\r\n'],
    ['a bad header name', 'HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n'],
    ['a header over 16 KB', `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(17_000)}\r\n\r\n`],
    ['100 that nobody asked for', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['101 with an upgrade', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'],
    ['101 without one', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ])('[D-SM-09] [D-LIM-08] answers 502 upstream_invalid_response to %s', async (_what, bytes, hangsUp = false) => {
    await start({
      script: {
        onRequest: (_request, socket) => {
          socket.write(bytes, 'latin1')
          if (hangsUp) socket.end()
          return undefined
        },
      },
    })
    expectError(await proxy.call('GET /api/x'), 502, 'upstream_invalid_response')
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })

  it('[D-SM-10] drops 103 with its headers and waits for the answer', async () => {
    await start({
      script: {
        onRequest: () =>
          `HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nSet-Cookie: a=b\r\n\r\n${answerText('done')}`,
      },
    })
    const answer = await proxy.call('GET /api/x')
    expect(answer.status).toBe(200)
    expect(answer.body).toBe('done')
    expect(answer.raw).not.toMatch(/preload|cookie|103/i)
  })

  it.each([
    ['too much after its length', `${answerText('{}')}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen`],
    ['a body after 204', 'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen'],
    ['a body with 304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nstolen'],
  ])('[D-SM-08] [D-SM-09] gives nobody else %s', async (_what, bytes) => {
    let first = true
    await start({
      script: {
        onRequest: () => {
          if (!first) return answerText('mine')
          first = false
          return bytes
        },
      },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/first'))
    expect((await client.answer()).raw).not.toContain('stolen')
    for (let call = 0; call < 3; call++) {
      client.send(proxy.bytes('GET /api/next'))
      expect((await client.answer()).body).toBe('mine')
    }
    expect(client.received).toBe('')
    client.destroy()
  })

  it('[D-SM-09] gives nobody else the body of an answer to HEAD', async () => {
    await start({ script: { onRequest: ({ method }) => answerText(method === 'HEAD' ? 'stolen' : 'mine') } })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('HEAD /api/x'))
    expect((await client.answer({ method: 'HEAD' })).status).toBe(200)
    client.send(proxy.bytes('GET /api/x'))
    expect((await client.answer()).body).toBe('mine')
    client.destroy()
  })

  it('[D-SM-08] does not use a connection again whose answer came before the body was read', async () => {
    await start({
      script: {
        onHead: (_head, socket) => void socket.write(answerText('early', { status: '413 Content Too Large' })),
      },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('POST /api/x', ['Content-Length: 1000000']) + 'x'.repeat(1000))
    const answer = await client.answer()
    expect(answer.status).toBe(413)
    expect(answer.body).toBe('early')
    expect(answer.values('connection')).toEqual(['close'])
    await client.closed()
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect((await proxy.call('GET /api/next')).body).toBe('early')
    expect(proxy.upstream.connections).toHaveLength(2)
  })

  it('[D-SM-09] passes on an answer without framing until the connection ends', async () => {
    await start({ script: { onRequest: (_request, socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\nto the end') } })
    const answer = await proxy.call('GET /api/x')
    expect(answer.body).toBe('to the end')
    expect(answer.values('transfer-encoding')).toEqual(['chunked'])
  })

  const cut: [string, string, (socket: Socket) => void][] = [
    ['short of its length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', (socket) => socket.end()],
    ['between chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', (socket) => socket.end()],
    [
      'in a chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf',
      (socket) => socket.resetAndDestroy(),
    ],
    ['by nonsense', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n', () => {}],
  ]
  it.each(cut)('cuts the client off as well when the answer is cut off %s', async (_what, bytes, end) => {
    await start({
      script: {
        onRequest: (_request, socket) => {
          socket.write(bytes)
          setImmediate(() => end(socket))
          return undefined
        },
      },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/x'))
    await client.closed()
    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK/)
    // Never a whole answer: no end of the chunks, and fewer bytes than the length says.
    expect(client.received).not.toContain('\r\n0\r\n\r\n')
    expect(proxy.log.at(-1)?.fields['event']).toBe('answer_broke_off')
  })

  it('resets an HTTP/1.0 client, which would take the end of the connection for the end of the answer', async () => {
    await start({
      script: {
        onRequest: (_request, socket) => {
          socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
          setTimeout(() => socket.destroy(), 50)
          return undefined
        },
      },
    })
    const client = await openClient(proxy.port)
    const failed = once(client.socket, 'error') as Promise<[NodeJS.ErrnoException]>
    client.send(proxy.bytes('GET /api/x').replace('HTTP/1.1', 'HTTP/1.0'))
    expect((await failed)[0].code).toBe('ECONNRESET')
  })

  const slow = { connectTimeoutSeconds: 0.2, responseTimeoutSeconds: 0.3, idleTimeoutSeconds: 0.3 }

  it('[D-LIM-04] answers 504 upstream_timeout when it is silent', async () => {
    await start({ routes: [slow], script: { onRequest: () => undefined } })
    expectError(await proxy.call('GET /api/x'), 504, 'upstream_timeout')
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })

  it('[D-LIM-04] answers 504 upstream_timeout when its head never ends', async () => {
    await start({ routes: [slow], script: { onRequest: () => 'HTTP/1.1 200 OK\r\nX-A: 1\r\n' } })
    expectError(await proxy.call('GET /api/x'), 504, 'upstream_timeout')
  })

  it('[D-LIM-04] answers 504 upstream_timeout when the connection does not come about', async () => {
    const silent = createServer()
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    try {
      // TCP connects, TLS never does.
      await start({ routes: [{ ...slow, upstream: `https://127.0.0.1:${(silent.address() as AddressInfo).port}` }] })
      expectError(await proxy.call('GET /api/x'), 504, 'upstream_timeout')
    } finally {
      silent.close()
    }
  })

  it('[D-LIM-04] cuts the client off when the answer falls silent in the middle', async () => {
    await start({
      routes: [slow],
      script: { onRequest: () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n' },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/x'))
    await client.closed()
    expect(client.received).toContain('half')
    expect(client.received).not.toContain('0\r\n\r\n')
  })

  it('[D-LIM-04] does not count the time in which the client still sends', async () => {
    const script: Script = { onRequest: ({ body }) => answerText(String(body.length)) }
    await start({ routes: [slow], script })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('POST /api/x', ['Content-Length: 10']))
    for (let sent = 0; sent < 10; sent++) {
      await new Promise((resolve) => setTimeout(resolve, 60))
      client.send('x')
    }
    expect((await client.answer()).body).toBe('10')
    client.destroy()
  })

  it('answers 503 upstream_overloaded with Retry-After when too many requests wait for it', async () => {
    await start({ options: { maxWaitingRequests: 2 }, script: { onRequest: () => undefined } })
    const waiting = await Promise.all([openClient(proxy.port), openClient(proxy.port)])
    for (const client of waiting) client.send(proxy.bytes('GET /api/wait'))
    await until('two requests', () => proxy.upstream.requests.length === 2)
    const answer = await proxy.call('GET /api/x')
    expectError(answer, 503, 'upstream_overloaded')
    expect(answer.values('retry-after')).toEqual(['1'])
    for (const client of waiting) client.destroy()
    await until('room again', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    proxy.upstream.script = {}
    expect((await proxy.call('GET /api/x')).status).toBe(200)
  })
})
