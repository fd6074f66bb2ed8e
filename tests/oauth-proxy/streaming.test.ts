import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { Registry } from '@token-handler/shared'
import { parseMetrics } from '../support/metrics.ts'
import { openClient, rawRequest, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { answerText } from '../support/upstream.ts'
import { handshake } from '../support/websocket.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunkOf = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

describe('streams', () => {
  let proxy: ProxyUnderTest
  const clients: RawClient[] = []
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await proxy.close()
  })

  async function send(bytes: string, { reads = true } = {}): Promise<RawClient> {
    const client = await openClient(proxy.port)
    clients.push(client)
    if (!reads) client.socket.pause()
    client.send(bytes)
    return client
  }

  const expectApiLetGo = (): Promise<void> =>
    until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))

  /** An API whose answers begin and then wait; the sockets in the order of the requests. */
  async function startEvents(setup: ProxySetup = {}): Promise<Socket[]> {
    const sockets: Socket[] = []
    await start({
      ...setup,
      script: {
        onRequest: ({ target }, socket) => {
          if (!target.startsWith('/api/events')) return answerText('short')
          sockets.push(socket)
          return streamHead
        },
      },
    })
    return sockets
  }

  it('pass the head on before there is a body, and every event as it comes', async () => {
    const sockets = await startEvents()
    const client = await send(proxy.bytes('GET /api/events'))
    await client.receives('\r\n\r\n')
    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK/)
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      sockets[0]?.write(chunkOf(event))
      await client.receives(event)
    }
    sockets[0]?.write('0\r\n\r\n')
    expect((await client.answer()).body).toBe('data: 1\n\ndata: 2\n\n')
  })

  it('[F-HP-1] pass a request body on as it comes, with our headers before it', async () => {
    await start()
    const client = await send(proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked'], chunkOf('first')))
    await until('the first piece', () => proxy.upstream.received().includes('first'))
    client.send(`${chunkOf('second')}0\r\n\r\n`)
    expect((await client.answer()).status).toBe(200)
    expect(proxy.upstream.requests[0]?.body).toBe(`${chunkOf('first')}${chunkOf('second')}0\r\n\r\n`)
    expect(proxy.upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${proxy.session.accessToken}`])
  })

  it('go both ways at once', async () => {
    await start({
      script: {
        onHead: (_head, socket) => {
          socket.write(streamHead)
          socket.on(
            'data',
            (chunk: Buffer) =>
              void socket.write(
                chunkOf(`echo ${/[a-c]/.exec(chunk.toString('latin1').replaceAll(/\r\n\d\r\n/g, ''))?.[0]}`),
              ),
          )
        },
      },
    })
    const client = await send(proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked']))
    await until('the call', () => proxy.upstream.connections.length === 0 || proxy.upstream.received() !== '')
    client.send(chunkOf('a'))
    await client.receives('\r\n\r\n')
    client.send(chunkOf('b'))
    await client.receives('echo b')
    client.send(chunkOf('c'))
    await client.receives('echo c')
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it('[D-LIM-05] let the API go when the client leaves before the answer', async () => {
    await start({ script: { onRequest: () => undefined } })
    const client = await send(proxy.bytes('GET /api/x'))
    await until('the request', () => proxy.upstream.requests.length === 1)
    client.destroy()
    await expectApiLetGo()
  })

  it('[D-LIM-05] let the API go when the client leaves in the middle of the answer', async () => {
    const sockets = await startEvents()
    const client = await send(proxy.bytes('GET /api/events'))
    await client.receives('\r\n\r\n')
    client.destroy()
    await expectApiLetGo()
    expect(sockets).toHaveLength(1)
  })

  it('[D-LIM-05] let the API go when the client leaves in the middle of its request; it never sees a whole one', async () => {
    await start()
    for (const [framing, part] of [
      ['Content-Length: 100', 'half'],
      ['Transfer-Encoding: chunked', chunkOf('half')],
    ] as const) {
      const client = await send(proxy.bytes('POST /api/x', [framing], part))
      await until('half a request', () => proxy.upstream.received().includes('half'))
      client.destroy()
      await expectApiLetGo()
    }
    expect(proxy.upstream.requests).toHaveLength(0)
    expect(proxy.log).toEqual([])
  })

  it('[D-LIM-05] survive clients that leave at every moment, and serve the next one', async () => {
    await start()
    const bytes = proxy.bytes('POST /api/x', ['Content-Length: 20'], 'x'.repeat(20))
    for (let length = 1; length <= bytes.length; length += 7) {
      const client = await openClient(proxy.port)
      client.send(bytes.slice(0, length))
      setImmediate(() => client.destroy())
    }
    const answer = await proxy.call('GET /api/x')
    expect(answer.json()).toEqual({ ok: true })
    await until('no exchange', async () => {
      const count = await new Promise<number>((resolve) => proxy.server.getConnections((_error, open) => resolve(open)))
      return count === 0
    })
  })

  it.each([
    ['a CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an upgrade', rawRequest('GET /api/feed', handshake)],
    ['an upgrade with half a body', rawRequest('GET /api/feed', [...handshake, 'Content-Length: 9'], 'half')],
  ])('[D-LIM-05] [D-WS-07] let the API go when %s comes behind requests on one connection', async (_what, last) => {
    const registry = new Registry()
    await startEvents({ routes: [{ responseTimeoutSeconds: 60, idleTimeoutSeconds: 60 }], registry })
    const events = proxy.bytes('GET /api/events').repeat(3)
    const client = await send(events)
    await until('the requests', () => proxy.upstream.requests.length === 3)
    client.send(last)
    await client.closed()
    await expectApiLetGo()
    const together = await send(events + last)
    await together.closed()
    await expectApiLetGo()
    await until('no exchange', async () => {
      const metrics = parseMetrics(await registry.metrics())
      return ['requests', 'streams'].every((what) => metrics.get(`token_handler_proxy_open_${what}`) === 0)
    })
  })

  it('end with the longest session, whatever kind of answer or request they are', async () => {
    await start({
      options: { absoluteSeconds: 3600 },
      script: {
        onRequest: ({ target }) =>
          target === '/api/lines'
            ? `HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n${chunkOf('{}')}`
            : undefined,
      },
    })
    const lines = await send(proxy.bytes('GET /api/lines'))
    await lines.receives('{}')
    const waits = await send(proxy.bytes('GET /api/slow'))
    const uploads = await send(proxy.bytes('POST /api/x', ['Content-Length: 100'], 'half'))
    await until('the calls', () => proxy.upstream.received().includes('half') && proxy.upstream.requests.length === 2)
    proxy.clock.advanceSeconds(1800)
    const younger = proxy.kit.session()
    const stays = await send(
      rawRequest('GET /api/lines', [
        ...proxy.spaHeaders.slice(2),
        'Host: www.example.com',
        `Cookie: ${younger.cookie}`,
      ]),
    )
    await stays.receives('{}')
    proxy.clock.advanceSeconds(1800)
    for (const client of [waits, uploads]) {
      const answer = await client.answer()
      expect([answer.status, answer.json().code]).toEqual([401, 'session_ended'])
    }
    await lines.closed()
    expect(lines.received.endsWith('0\r\n\r\n')).toBe(false)
    expect(stays.isClosed).toBe(false)
  })

  it('[D-LIM-04] stop reading from the API when the client does not read', async () => {
    const piece = chunkOf('x'.repeat(65_536))
    const tooMuch = 64 * 1024 * 1024
    let written = 0
    await start({
      routes: [{ idleTimeoutSeconds: 60 }],
      script: {
        onRequest: (_request, socket) => {
          socket.write(streamHead)
          const pump = (): void => {
            while (!socket.destroyed) {
              written += piece.length
              if (!socket.write(piece)) {
                socket.once('drain', pump)
                return
              }
            }
          }
          pump()
          return undefined
        },
      },
    })
    await send(proxy.bytes('GET /api/x'), { reads: false })
    let before = 0
    let stillFor = 0
    await until('a standstill', () => {
      stillFor = written > 0 && written === before ? stillFor + 1 : 0
      before = written
      return stillFor === 20 || written > tooMuch
    })
    // What is on the way fits into socket buffers; a proxy that reads on would take all there is.
    expect(written).toBeLessThan(tooMuch)
  })

  it('[D-LIM-04] let the API go when the client leaves an answer unread for too long', async () => {
    const piece = chunkOf('x'.repeat(65_536)).repeat(64)
    await start({
      routes: [{ idleTimeoutSeconds: 0.2 }],
      script: {
        onRequest: (_request, socket) => {
          socket.write(streamHead)
          const pump = (): void => void (socket.destroyed || socket.write(piece, pump))
          pump()
          return undefined
        },
      },
    })
    await send(proxy.bytes('GET /api/x'), { reads: false })
    await until('the request', () => proxy.upstream.requests.length === 1)
    await expectApiLetGo()
  })

  it('[D-LIM-04] cut off a client that leaves the end of an answer unread, though the API is done', async () => {
    const piece = chunkOf('x'.repeat(16_384))
    const browsers: Socket[] = []
    let whole = false
    await start({
      routes: [{ idleTimeoutSeconds: 1 }],
      prepare: (server) => server.on('connection', (socket) => browsers.push(socket)),
      script: {
        onRequest: (_request, socket) => {
          socket.write(streamHead)
          const pump = (): void => {
            whole = (browsers[0]?.writableLength ?? 0) > 0
            if (whole) socket.end('0\r\n\r\n')
            else if (!socket.destroyed) socket.write(piece, () => setImmediate(pump))
          }
          pump()
          return undefined
        },
      },
    })
    await send(proxy.bytes('GET /api/x'), { reads: false })
    await until('the end of the answer', () => whole)
    await expectApiLetGo()
    await until('the end of the connection', () => browsers[0]?.destroyed === true)
    expect(proxy.log).toEqual([])
  })

  it('never starve short requests, however many there are', async () => {
    const sockets = await startEvents()
    const count = 400
    const opened: Promise<void>[] = []
    for (let stream = 0; stream < count; stream++) {
      const client = await send(proxy.bytes('GET /api/events'))
      opened.push(client.receives('\r\n\r\n'))
    }
    await Promise.all(opened)
    expect(sockets).toHaveLength(count)
    expect((await proxy.call('GET /api/short')).body).toBe('short')
  })

  it('end when their session ends, and no other session’s', async () => {
    const sockets = await startEvents()
    const other = proxy.kit.session()
    const mine = await send(proxy.bytes('GET /api/events'))
    const theirs = await send(proxy.bytes('GET /api/events').replace(proxy.session.cookie, other.cookie))
    await Promise.all([mine.receives('\r\n\r\n'), theirs.receives('\r\n\r\n')])
    proxy.clock.advanceSeconds(1)
    proxy.rules.add({
      key: `sid:${proxy.session.sid}`,
      before: proxy.clock.now(),
      reason: 'logout',
      expiresAt: proxy.clock.now() + 1000,
    })
    await mine.receives('event: session_ended\ndata: {"code":"session_ended"}\n\n\r\n0\r\n\r\n')
    await until('the end of one call', () => proxy.upstream.connections.filter(({ isOpen }) => isOpen).length === 1)
    for (const socket of sockets) if (!socket.destroyed) socket.write(chunkOf('still here'))
    await theirs.receives('still here')
    expect(theirs.received).not.toContain('session_ended')
  })

  it('[G-6] end when nobody can tell any more which sessions were ended', async () => {
    await startEvents()
    const client = await send(proxy.bytes('GET /api/events'))
    await client.receives('\r\n\r\n')
    proxy.missed.forMs = 60_001
    proxy.rules.checkStaleness()
    await client.receives('event: store_unavailable\n')
    await expectApiLetGo()
  })

  it('[G-6] answer 503 store_unavailable when that happens before the API answers', async () => {
    await start({ script: { onRequest: () => undefined } })
    const client = await send(proxy.bytes('POST /api/x', ['Content-Length: 1'], 'x'))
    await until('the request', () => proxy.upstream.requests.length === 1)
    proxy.missed.forMs = 60_001
    proxy.rules.checkStaleness()
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([503, 'store_unavailable'])
    await expectApiLetGo()
  })

  it('answer 401 session_ended when the session ends before the API answers', async () => {
    await start({ script: { onRequest: () => undefined } })
    const client = await send(proxy.bytes('POST /api/x', ['Content-Length: 1'], 'x'))
    await until('the request', () => proxy.upstream.requests.length === 1)
    proxy.clock.advanceSeconds(1)
    const now = proxy.clock.now()
    proxy.rules.add({ key: 'all', before: now, reason: 'logout', expiresAt: now + 1000 })
    const answer = await client.answer()
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe('session_ended')
    await expectApiLetGo()
  })
})
