import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import dns from 'node:dns'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { RouteOptions } from '@token-handler/oauth-proxy'
import { WebSocket } from 'ws'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { handshake, handshakeAccept, handshakeKey, startEchoServer, type EchoServer } from '../support/websocket.ts'
import { publicOrigin, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

let echo: EchoServer
let proxy: ProxyUnderTest

beforeEach(async () => {
  echo = await startEchoServer()
})

afterEach(async () => {
  await proxy.close()
  await echo.close()
})

async function start(setup: ProxySetup = {}, route: Partial<RouteOptions> = {}): Promise<void> {
  proxy = await startProxy({ ...setup, routes: [{ upstream: echo.origin, webSocket: true, ...route }] })
}

function connect({
  path = '/api/feed',
  cookie = proxy.session.cookie,
  protocols = [] as string[],
  headers = {},
} = {}): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}${path}`, protocols, {
    headers: { host: 'www.example.com', cookie, origin: publicOrigin, ...headers },
    maxPayload: 128 * 1024 * 1024,
  })
  socket.on('error', () => undefined)
  return socket
}

async function opened(options?: Parameters<typeof connect>[0]): Promise<WebSocket> {
  const socket = connect(options)
  await once(socket, 'open')
  return socket
}

async function closeOf(socket: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
  return { code, reason: reason.toString() }
}

function endSession(): void {
  proxy.clock.advanceSeconds(1)
  const now = proxy.clock.now()
  proxy.rules.add({ key: `sid:${proxy.session.sid}`, before: now, reason: 'logout', expiresAt: now + 1000 })
}

/** What reached an API that is a bare socket and answers with the given bytes. */
async function handshakeWith(answer: string | undefined, headers: readonly string[] = []): Promise<RawClient> {
  proxy = await startProxy({
    routes: [{ webSocket: true, ...(answer === undefined ? { responseTimeoutSeconds: 0.3 } : {}) }],
    script: { onRequest: () => answer },
  })
  const client = await openClient(proxy.port)
  client.send(proxy.bytes('GET /api/feed?x=1', [...handshake, ...headers]))
  return client
}

const accepted = [
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Accept: ${handshakeAccept}`,
]

describe('a WebSocket', () => {
  it('carries text and bytes both ways, with the subprotocol that the API chose', async () => {
    await start()
    const socket = await opened({ protocols: ['feed.v2', 'feed.v1'] })
    expect(socket.protocol).toBe('feed.v2')
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    const large = Buffer.alloc(64 * 1024 * 1024, 'abcdefg')
    socket.send(large, { binary: true })
    const [received, isBinary] = (await once(socket, 'message')) as [Buffer, boolean]
    expect([isBinary, received.equals(large)]).toEqual([true, true])
    socket.ping('are you there')
    expect(String((await once(socket, 'pong'))[0])).toBe('are you there')
    socket.send('frag', { fin: false })
    socket.send('ment', { fin: true })
    expect(String((await once(socket, 'message'))[0])).toBe('fragment')
  }, 60_000)

  it('passes close codes and reasons both ways', async () => {
    await start()
    const first = await opened()
    first.close(4000, 'done here')
    await until('the close at the API', () => echo.closes.length === 1)
    expect(echo.closes[0]).toEqual({ code: 4000, reason: 'done here' })
    const second = await opened()
    echo.sockets.at(-1)?.close(4999, 'go away')
    expect(await closeOf(second)).toEqual({ code: 4999, reason: 'go away' })
  })

  it('[D-HDR-01] [D-HDR-02] [D-WS-03] brings the API the bearer token, and nothing that only looks like it', async () => {
    await start()
    await opened({
      headers: {
        authorization: 'Bearer forged',
        'x-forwarded-for': '203.0.113.9',
        'x-forwarded-user': 'admin',
        forwarded: 'for=1.2.3.4',
        'x-user': 'admin',
        'x-custom': 'kept',
      },
    })
    const { headers } = echo.handshakes[0] ?? { headers: {} }
    expect(headers).toMatchObject({
      authorization: `Bearer ${proxy.session.accessToken}`,
      host: new URL(echo.origin).host,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'www.example.com',
      'x-custom': 'kept',
    })
    for (const name of ['cookie', 'origin', 'x-user', 'x-forwarded-user', 'forwarded', 'token-handler-version']) {
      expect(headers).not.toHaveProperty(name)
    }
  })

  it('is asked for byte for byte as it was judged, and the answer is cleaned like any other', async () => {
    const client = await handshakeWith(
      [
        ...accepted,
        'Set-Cookie: evil=1',
        'Access-Control-Allow-Origin: *',
        'Server: inside',
        'Sec-WebSocket-Protocol: a',
        '',
        '\x81\x02hi',
      ].join('\r\n'),
      ['Sec-WebSocket-Protocol: a, b', 'Sec-WebSocket-Extensions: permessage-deflate'],
    )
    await client.receives('\x81\x02hi')
    expect(client.received).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    const head = client.received.toLowerCase()
    expect(head).toContain('sec-websocket-protocol: a\r\n')
    expect(head).toContain(`sec-websocket-accept: ${handshakeAccept.toLowerCase()}`)
    expect(head).toMatch(/\r\nupgrade: websocket\r\n/)
    expect(head).toMatch(/\r\nconnection: upgrade\r\n/)
    expect(head).not.toMatch(/set-cookie|server:|allow-origin: \*/)
    const [request] = proxy.upstream.requests
    expect(request?.target).toBe('/api/feed?x=1')
    expect(request?.values('sec-websocket-key')).toEqual([handshakeKey])
    expect(request?.values('sec-websocket-protocol')).toEqual(['a, b'])
    expect(request?.values('sec-websocket-extensions')).toEqual(['permessage-deflate'])
  })

  it('passes what the browser sends right behind its handshake, once the API has agreed', async () => {
    proxy = await startProxy({
      routes: [{ webSocket: true }],
      script: { onRequest: () => `${accepted.join('\r\n')}\r\n\r\n` },
    })
    const client = await openClient(proxy.port)
    client.send(`${proxy.bytes('GET /api/feed', handshake)}\x81\x80\0\0\0\0`)
    await client.receives('HTTP/1.1 101 ')
    await until('the early frame', () => proxy.upstream.received().endsWith('\r\n\r\n\x81\x80\0\0\0\0'))
    expect(proxy.upstream.requests).toHaveLength(1)
  })

  it('brings no token on a route that asks for no session', async () => {
    await start({}, { session: 'none' })
    const socket = await opened({ cookie: '' })
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    expect(echo.handshakes[0]?.headers.authorization).toBeUndefined()
  })

  it('lets invalid frames pass byte for byte: they are the ends’ to judge', async () => {
    const odd = '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff odd \x00'
    const client = await handshakeWith([...accepted, '', odd].join('\r\n'))
    await client.receives(odd)
    expect(client.received.endsWith(odd)).toBe(true)
    client.send('\x00\x01not a frame')
    await until('the bytes at the API', () => proxy.upstream.received().endsWith('\x00\x01not a frame'))
  })
})

describe('the handshake of a WebSocket is refused', () => {
  const refused = async (headers: readonly string[], change = (bytes: string): string => bytes) => {
    const client = await openClient(proxy.port)
    const before = echo.handshakes.length
    client.send(change(proxy.bytes('GET /api/feed', headers)))
    const answer = await client.answer()
    await client.closed()
    expect(proxy.upstream.received()).toBe('')
    expect(echo.handshakes).toHaveLength(before)
    return answer
  }
  const without = (line: string) => (bytes: string) => bytes.replace(`${line}\r\n`, '')
  const origin = `Origin: ${publicOrigin}`

  it.each<[string, number, string, readonly string[], (bytes: string) => string]>([
    ['[D-WS-02] without an Origin', 403, 'missing_origin', handshake, without(origin)],
    [
      '[D-WS-02] of another origin',
      403,
      'untrusted_origin',
      handshake,
      (b) => b.replace(origin, 'Origin: https://evil.test'),
    ],
    ['[D-WS-02] of an opaque origin', 403, 'untrusted_origin', handshake, (b) => b.replace(origin, 'Origin: null')],
    ['of a sibling', 403, 'untrusted_origin', handshake, (b) => b.replace(origin, 'Origin: https://blog.example.com')],
    ['without a session', 401, 'session_missing', handshake, (b) => b.replace(/Cookie: .*\r\n/, '')],
    ['[D-WS-06] of another version', 426, 'upgrade_required', handshake.with(2, 'Sec-WebSocket-Version: 8'), (b) => b],
    [
      '[B-FA-01] with a token',
      400,
      'invalid_request',
      handshake,
      (b) => b.replace(' HTTP', '?access_token=stolen HTTP'),
    ],
    ['[D-WS-06] without a key', 400, 'invalid_request', handshake.slice(0, 3), (b) => b],
    ['with a key of another length', 400, 'invalid_request', handshake.with(3, 'Sec-WebSocket-Key: eA=='), (b) => b],
    ['with a body', 400, 'invalid_request', [...handshake, 'Content-Length: 3'], (b) => `${b}abc`],
    ['with two keys', 400, 'invalid_request', [...handshake, `Sec-WebSocket-Key: ${handshakeKey}`], (b) => b],
    [
      '[D-SM-11] with another protocol beside',
      426,
      'upgrade_required',
      handshake.with(1, 'Upgrade: websocket, h2c'),
      (b) => b,
    ],
    ['by HTTP/1.0', 400, 'invalid_request', handshake, (b) => b.replace('HTTP/1.1', 'HTTP/1.0')],
    [
      'with another name in Connection',
      400,
      'invalid_request',
      handshake.with(0, 'Connection: upgrade, authorization'),
      (b) => b,
    ],
  ])('%s', async (_what, status, code, headers, change) => {
    await start()
    const answer = await refused(headers, change)
    expect([answer.status, answer.json().code]).toEqual([status, code])
    expect(answer.values('connection')).toEqual([status === 426 ? 'upgrade' : 'close'])
  })

  it('[B-BC-08] when the session was ended, its access cookie is over, or it lacks a scope', async () => {
    await start({}, { scopes: ['admin'] })
    expect((await refused(handshake)).json().code).toBe('insufficient_scope')
    endSession()
    expect((await refused(handshake)).json().code).toBe('session_ended')
    proxy.clock.advanceSeconds(1000)
    const answer = await refused(handshake)
    expect([answer.status, answer.json().code]).toEqual([401, 'access_token_expired'])
    expect(answer.values('access-control-allow-origin')).toEqual([publicOrigin])
  })

  it('when the session asks too often, or its API has too many that wait', async () => {
    await start({ options: { rateLimit: { perSession: { requests: 1, windowSeconds: 60 } } } })
    await opened()
    const answer = await refused(handshake)
    expect([answer.status, answer.json().code]).toEqual([429, 'too_many_requests'])
    await proxy.close()
    await start({ options: { maxWaitingRequests: 0 } })
    const overloaded = await refused(handshake)
    expect([overloaded.status, overloaded.json().code]).toEqual([503, 'upstream_overloaded'])
  })

  it('[D-WS-07] when a session, or all together, have as many streams as they may', async () => {
    await start({ options: { streamLimits: { perSession: 2, total: 3 } } })
    const [first] = [await opened(), await opened()]
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/feed', handshake))
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([429, 'too_many_streams'])
    expect(answer.values('retry-after')).toHaveLength(1)
    await opened({ cookie: proxy.kit.session().cookie })
    const another = await openClient(proxy.port)
    another.send(proxy.bytes('GET /api/feed', handshake).replace(proxy.session.cookie, proxy.kit.session().cookie))
    expect((await another.answer()).json().code).toBe('streams_exhausted')
    first.terminate()
    await until('its place', () => echo.closes.length === 1)
    await opened()
  })
})

describe('handshakes', () => {
  it('[D-WS-08] are cut where an earlier request on the connection is still being answered', async () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf '
    proxy = await startProxy({ routes: [{ webSocket: true }], script: { onRequest: () => head } })
    for (const length of ['0', '9']) {
      const client = await openClient(proxy.port)
      client.send(proxy.bytes('GET /api/slow'))
      await client.receives('half ')
      client.send(proxy.bytes('GET /api/feed', [...handshake, `Content-Length: ${length}`]))
      await client.closed()
      expect(client.received.endsWith('half ')).toBe(true)
    }
    expect(proxy.upstream.requests).toHaveLength(2)
    const both = await openClient(proxy.port)
    both.send(proxy.bytes('GET /api/slow') + proxy.bytes('GET /api/feed', handshake))
    await both.closed()
  })

  it('[D-WS-07] that come together count together', async () => {
    proxy = await startProxy({
      routes: [{ webSocket: true }],
      options: { streamLimits: { perSession: 2, total: 10 } },
      script: { onRequest: () => undefined },
    })
    const clients = await Promise.all(Array.from({ length: 6 }, () => openClient(proxy.port)))
    for (const client of clients) client.send(proxy.bytes('GET /api/feed', handshake))
    const refused = (): number => clients.filter(({ received }) => received.includes('too_many_streams')).length
    await until('all are judged', () => refused() + proxy.upstream.requests.length === 6)
    expect(refused()).toBe(4)
    for (const client of clients) client.destroy()
  })

  it('are answered in JSON when the session ends, or the process stops, before the API has answered', async () => {
    for (const [end, status, code] of [
      [endSession, 401, 'session_ended'],
      [() => proxy.proxy.endStreams(), 503, 'shutting_down'],
    ] as const) {
      const client = await handshakeWith(undefined)
      await until('the request', () => proxy.upstream.requests.length === 1)
      end()
      const answer = await client.answer()
      expect([answer.status, answer.json().code]).toEqual([status, code])
      await until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
      await client.closed()
      await proxy.close()
    }
    await start()
    proxy.proxy.endStreams()
    const late = await openClient(proxy.port)
    late.send(proxy.bytes('GET /api/feed', handshake))
    expect((await late.answer()).json().code).toBe('shutting_down')
  })

  it.each([
    ['before the answer', undefined],
    ['while open', `${accepted.join('\r\n')}\r\n\r\n`],
    ['within a refusal', 'HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf'],
  ])('[D-WS-08] leave nothing behind, whichever side resets: %s', async (_when, answer) => {
    for (const side of ['browser', 'api'] as const) {
      const client = await handshakeWith(answer)
      await until('the request', () => proxy.upstream.requests.length === 1)
      if (answer !== undefined) await client.receives('HTTP/1.1 ')
      if (side === 'browser') client.socket.resetAndDestroy()
      else proxy.upstream.connections[0]?.socket.resetAndDestroy()
      await until('both let go', () => client.isClosed && proxy.upstream.connections.every(({ isOpen }) => !isOpen))
      expect((await proxy.call('GET /other')).status).toBe(404)
      await proxy.close()
    }
    await start()
  })
})

describe('an API that wants no WebSocket', () => {
  it('refuses it in its own words, cleaned', async () => {
    const client = await handshakeWith(
      'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nContent-Type: application/json\r\n\r\n{}',
    )
    const answer = await client.answer()
    expect([answer.status, answer.body]).toEqual([403, '{}'])
    expect(answer.values('set-cookie')).toEqual([])
    expect(answer.values('connection')).toEqual(['close'])
    await client.closed()
  })

  it.each<[string, number, string, string | undefined]>([
    [
      'gives another 101',
      502,
      'upstream_invalid_response',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n',
    ],
    [
      'accepts another key',
      502,
      'upstream_invalid_response',
      `${accepted.join('\r\n').replace(handshakeAccept, 'AAAA')}\r\n\r\n`,
    ],
    ['answers garbage', 502, 'upstream_invalid_response', 'garbage\r\n\r\n'],
    ['is silent', 504, 'upstream_timeout', undefined],
  ])('that %s gets the browser a clean %i', async (_what, status, code, script) => {
    const client = await handshakeWith(script)
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([status, code])
    await client.closed()
    await until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })

  it('[D-LIM-04] that falls silent within its refusal is let go', async () => {
    proxy = await startProxy({
      routes: [{ webSocket: true, idleTimeoutSeconds: 0.2 }],
      script: { onRequest: () => 'HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf' },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/feed', handshake))
    await client.closed()
    expect(client.received.endsWith('half')).toBe(true)
    await until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })

  it('that is not there, or hangs up, gets it a 502', async () => {
    await start({}, { upstream: 'http://127.0.0.1:9' })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/feed', handshake))
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([502, 'upstream_unavailable'])
    await client.closed()
    await proxy.close()
    proxy = await startProxy({ routes: [{ webSocket: true }], script: { onHead: (_head, socket) => socket.destroy() } })
    const other = await openClient(proxy.port)
    other.send(proxy.bytes('GET /api/feed', handshake))
    expect((await other.answer()).json().code).toBe('upstream_unavailable')
  })

  it('[D-LIM-04] that cannot be connected to gets it a 504', async () => {
    await start({}, { upstream: 'http://api.internal:8080', connectTimeoutSeconds: 0.2 })
    const client = await openClient(proxy.port)
    const lookup = jest.spyOn(dns, 'lookup').mockImplementation(() => undefined)
    try {
      client.send(proxy.bytes('GET /api/feed', handshake))
      const answer = await client.answer()
      expect([answer.status, answer.json().code]).toEqual([504, 'upstream_timeout'])
      await client.closed()
    } finally {
      lookup.mockRestore()
    }
  })

  it('that was connected while this process stood still is not given up', async () => {
    await start({}, { connectTimeoutSeconds: 0.05 })
    const client = await openClient(proxy.port)
    let stoodStill = 0
    // Once the connection is asked for and the wait for it has begun, but before the loop looks at what came of it.
    const standStill = (ticks = 10): void => {
      if (ticks > 0) process.nextTick(standStill, ticks - 1)
      else for (const end = Date.now() + 200; Date.now() < end; stoodStill++);
    }
    const connecting = (): void => standStill()
    subscribe('net.client.socket', connecting)
    try {
      client.send(proxy.bytes('GET /api/feed', handshake))
      await client.receives('\r\n\r\n')
    } finally {
      unsubscribe('net.client.socket', connecting)
    }
    expect(client.received.split('\r\n', 1)).toEqual(['HTTP/1.1 101 Switching Protocols'])
    expect(stoodStill).toBeGreaterThan(0)
    client.destroy()
  })

  it('that agrees to what was not offered gets the browser a 502', async () => {
    for (const line of ['Sec-WebSocket-Protocol: other', 'Sec-WebSocket-Extensions: permessage-deflate; x']) {
      const answer = `${[...accepted, line].join('\r\n')}\r\n\r\n`
      const client = await handshakeWith(answer, ['Sec-WebSocket-Protocol: a'])
      expect((await client.answer()).json().code).toBe('upstream_invalid_response')
      await proxy.close()
    }
    await start()
  })

  it.each<[how: string, leave: (client: RawClient) => void]>([
    ['closes its connection', ({ socket }) => socket.end()],
    ['resets its connection', ({ socket }) => socket.resetAndDestroy()],
    ['closes it behind what it has sent', ({ socket }) => socket.end('\x81\x80\0\0\0\0')],
  ])('[D-WS-07] is let go when the browser does not wait and %s', async (_how, leave) => {
    proxy = await startProxy({
      routes: [{ webSocket: true, responseTimeoutSeconds: 60 }],
      options: { streamLimits: { perSession: 1, total: 1 } },
      script: { onRequest: () => undefined },
    })
    for (const requests of [1, 2]) {
      const client = await openClient(proxy.port)
      client.send(proxy.bytes('GET /api/feed', handshake))
      await until('the request', () => proxy.upstream.requests.length === requests)
      expect(client.received).toBe('')
      leave(client)
      await until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    }
  })
})

describe('an open WebSocket', () => {
  it('[B-BC-08] [D-WS-04] is closed both ways when its session ends, and no other session’s', async () => {
    await start()
    const [mine, theirs] = [await opened(), await opened({ cookie: proxy.kit.session().cookie })]
    const closed = closeOf(mine)
    endSession()
    expect(await closed).toEqual({ code: 4401, reason: 'session_ended' })
    await until('the close at the API', () => echo.closes.length === 1)
    expect(echo.closes[0]).toEqual({ code: 4401, reason: 'session_ended' })
    theirs.send('still here')
    expect(String((await once(theirs, 'message'))[0])).toBe('still here')
  })

  it('is closed behind the frame that is under way, not within it', async () => {
    const client = await handshakeWith([...accepted, '', '\x81\x05he'].join('\r\n'))
    await client.receives('\x81\x05he')
    endSession()
    const [{ socket } = { socket: undefined }] = proxy.upstream.connections
    socket?.write('llo\x81\x02no', 'latin1')
    await client.receives('\x81\x05hello\x88\x0f\x11\x31session_ended')
    await client.closed()
    expect(client.received.endsWith('\x81\x05hello\x88\x0f\x11\x31session_ended')).toBe(true)
    await until('the masked close', () => proxy.upstream.received().includes('\x88\x8f\0\0\0\0\x11\x31session_ended'))
  })

  it('is closed behind the frame that came with the handshake', async () => {
    proxy = await startProxy({
      routes: [{ webSocket: true }],
      script: { onRequest: () => `${accepted.join('\r\n')}\r\n\r\n` },
    })
    const client = await openClient(proxy.port)
    client.send(`${proxy.bytes('GET /api/feed', handshake)}\x81\x85\0\0\0\0he`)
    await client.receives('101 Switching')
    endSession()
    await client.receives('session_ended')
    client.send('llo')
    await client.closed()
    await until('the frames', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.upstream.received().split('\r\n\r\n', 2)[1]).toBe(
      '\x81\x85\0\0\0\0hello\x88\x8f\0\0\0\0\x11\x31session_ended',
    )
  })

  it('gets no close frame where one has passed already', async () => {
    const theirs = '\x88\x02\x03\xe8'
    const client = await handshakeWith([...accepted, '', theirs].join('\r\n'))
    await client.receives(theirs)
    endSession()
    await client.closed()
    expect(client.received.endsWith(theirs)).toBe(true)
  })

  it('is cut off when a frame does not end', async () => {
    const client = await handshakeWith([...accepted, '', '\x81\x05he'].join('\r\n'))
    await client.receives('\x81\x05he')
    endSession()
    await client.closed()
    expect(client.received.endsWith('\x81\x05he')).toBe(true)
    await until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })

  it('ends with the access cookie where the route wants that', async () => {
    await start({}, { streams: { atTokenExpiry: 'close' } })
    const exp = Math.floor(proxy.clock.now() / 1000) + 1
    const socket = await opened({ cookie: proxy.kit.session({ exp }).cookie })
    expect(await closeOf(socket)).toEqual({ code: 4401, reason: 'access_token_expired' })
  })

  it('ends at the longest duration of its route', async () => {
    await start({}, { streams: { atTokenExpiry: 'keep', maxDurationSeconds: 1 } })
    expect(await closeOf(await opened())).toEqual({ code: 4408, reason: 'stream_too_long' })
  })

  it('ends with the longest session', async () => {
    await start({ options: { absoluteSeconds: 3600 } })
    const sst = proxy.clock.now() - 3_599_500
    const socket = await opened({ cookie: proxy.kit.session({ sst }).cookie })
    expect(await closeOf(socket)).toEqual({ code: 4401, reason: 'session_ended' })
  })

  it('ends when nothing is said for too long', async () => {
    await start({}, { idleTimeoutSeconds: 1 })
    expect(await closeOf(await opened())).toEqual({ code: 4408, reason: 'stream_idle' })
  })

  it('ends when the process stops, and when nobody knows which sessions were ended', async () => {
    await start()
    const first = closeOf(await opened())
    proxy.missed.forMs = 60_001
    proxy.rules.checkStaleness()
    expect(await first).toEqual({ code: 1013, reason: 'store_unavailable' })
    proxy.missed.forMs = 0
    proxy.rules.checkStaleness()
    const second = closeOf(await opened())
    proxy.proxy.endStreams()
    expect(await second).toEqual({ code: 1001, reason: 'shutting_down' })
  })

  it('ends with its API, and lets its API go with the browser', async () => {
    await start()
    const first = await opened()
    echo.sockets[0]?.terminate()
    expect((await closeOf(first)).code).toBe(1006)
    const second = await opened()
    second.terminate()
    await until('the end at the API', () => echo.closes.length === 2)
    expect(echo.closes[1]?.code).toBe(1006)
  })

  it('holds back an API whose browser does not read', async () => {
    await start()
    const socket = await opened()
    socket.pause()
    const api = echo.sockets[0]
    const block = Buffer.alloc(1024 * 1024)
    let sent = 0
    await until('back-pressure', () => {
      if ((api?.bufferedAmount ?? 0) === 0) {
        api?.send(block)
        sent++
      }
      return sent > 4 && (api?.bufferedAmount ?? 0) > 0
    })
    expect(sent).toBeLessThan(64)
    let received = 0
    socket.on('message', (data: Buffer) => (received += data.length))
    socket.resume()
    await until('all of it', () => received === sent * block.length)
  })
})
