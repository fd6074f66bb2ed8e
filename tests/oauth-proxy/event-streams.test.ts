import { afterEach, describe, expect, it } from '@jest/globals'
import type { RouteOptions } from '@token-handler/oauth-proxy'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

let proxy: ProxyUnderTest
afterEach(() => proxy.close())

const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** An API that begins an event stream with the given text and leaves it open. */
async function start(
  text: string,
  {
    headers = ['Content-Type: text/event-stream; charset=utf-8'],
    route = {},
    setup = {},
  }: { headers?: readonly string[]; route?: Partial<RouteOptions>; setup?: ProxySetup } = {},
): Promise<void> {
  const hasLength = headers.some((line) => line.startsWith('Content-Length'))
  const framing = hasLength ? [] : ['Transfer-Encoding: chunked']
  const head = ['HTTP/1.1 200 OK', ...framing, ...headers, '', ''].join('\r\n')
  proxy = await startProxy({
    ...setup,
    routes: [route],
    script: { onRequest: () => head + (text === '' || hasLength ? text : chunk(text)) },
  })
}

async function listen(request = proxy.bytes('GET /api/events')): Promise<RawClient> {
  const client = await openClient(proxy.port)
  client.send(request)
  await client.receives('\r\n\r\n')
  return client
}

function endSession(): void {
  proxy.clock.advanceSeconds(1)
  const now = proxy.clock.now()
  proxy.rules.add({ key: 'all', before: now, reason: 'revoked', expiresAt: now + 1000 })
}

const expectApiLetGo = (): Promise<void> =>
  until('the API is let go', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))

describe('an event stream', () => {
  it.each([
    ['before the first event', ''],
    ['behind an event', 'data: one\n\n'],
    ['behind an event with other line ends', 'data: one\r\n\r\n'],
    ['behind an old event', 'data: one\r\r'],
  ])('[B-BC-08] tells the page that its session was ended: %s', async (_when, text) => {
    await start(text)
    const client = await listen()
    await client.receives(text)
    endSession()
    await client.receives(`event: session_ended\ndata: {"code":"session_ended"}\n\n\r\n0\r\n\r\n`)
    await expectApiLetGo()
  })

  it.each([
    ['within an event', 'data: one\n', ['Content-Type: text/event-stream']],
    ['compressed', 'data: one\n\n', ['Content-Type: text/event-stream', 'Content-Encoding: gzip']],
    ['of a length that is known', 'data: one\n\n', ['Content-Type: text/event-stream', 'Content-Length: 20']],
    ['of another kind', 'data: one\n\n', ['Content-Type: text/event-streams']],
  ])('is cut off where nothing can be told: %s', async (_what, text, headers) => {
    await start(text, { headers })
    const client = await listen()
    await client.receives(text)
    endSession()
    await client.closed()
    expect(client.received).not.toContain('session_ended')
    expect(client.received.endsWith('0\r\n\r\n')).toBe(false)
    await expectApiLetGo()
  })

  it('ends with the access cookie, and at the longest duration, where the route wants that', async () => {
    await start('', { route: { streams: { atTokenExpiry: 'close' } } })
    const exp = Math.floor(proxy.clock.now() / 1000) + 1
    const { cookie } = proxy.kit.session({ exp })
    const client = await listen(proxy.bytes('GET /api/events').replace(proxy.session.cookie, cookie))
    await client.receives('event: access_token_expired\n')
    await proxy.close()
    await start('', { route: { streams: { atTokenExpiry: 'keep', maxDurationSeconds: 1 } } })
    await (await listen()).receives('event: stream_too_long\n')
    await expectApiLetGo()
  })

  it('ends when the process stops; ordinary answers go on', async () => {
    await start('data: one\n\n')
    const client = await listen()
    proxy.proxy.endStreams()
    await client.receives('event: shutting_down\n')
    await expectApiLetGo()
  })

  it('is one too many where a session has as many as it may; ended ones do not count', async () => {
    await start('data: one\n\n', { setup: { options: { streamLimits: { perSession: 1, total: 2 } } } })
    const first = await listen()
    const refused = await proxy.call('GET /api/events')
    expect([refused.status, refused.json().code]).toEqual([429, 'too_many_streams'])
    await listen(proxy.bytes('GET /api/events').replace(proxy.session.cookie, proxy.kit.session().cookie))
    first.destroy()
    await until('its place', () => proxy.upstream.connections.filter(({ isOpen }) => isOpen).length === 1)
    await listen()
    const full = proxy.bytes('GET /api/events').replace(proxy.session.cookie, proxy.kit.session().cookie)
    const client = await openClient(proxy.port)
    client.send(full)
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([503, 'streams_exhausted'])
  })

  it('is served to EventSource, which sets no header of ours, and to no other site', async () => {
    await start('data: one\n\n')
    const plain = proxy.bytes('GET /api/events').replace('token-handler-version: 1\r\n', '')
    const sameOrigin = plain.replace(/Origin: .*\r\n/, '')
    expect((await listen(sameOrigin)).received).toMatch(/^HTTP\/1\.1 200/)
    expect((await listen(plain.replace('same-origin', 'same-site'))).received).toMatch(/^HTTP\/1\.1 200/)
    const seen = proxy.upstream.requests.length
    expect((await listen(sameOrigin.replace('same-origin', 'cross-site'))).received).toMatch(/^HTTP\/1\.1 403/)
    expect((await listen(sameOrigin.replace('same-origin', 'same-site'))).received).toMatch(/^HTTP\/1\.1 403/)
    expect(proxy.upstream.requests).toHaveLength(seen)
  })

  it('starves no request, though 3,000 are open', async () => {
    await start('data: one\n\n', {
      route: { idleTimeoutSeconds: 300 },
      setup: { options: { streamLimits: { perSession: 5000, total: 5000 } } },
    })
    const request = proxy.bytes('GET /api/events')
    const clients: RawClient[] = []
    while (clients.length < 3000) {
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => listen(request)))))
    }
    expect(clients.every(({ received }) => received.startsWith('HTTP/1.1 200'))).toBe(true)
    proxy.upstream.script = {}
    expect((await proxy.call('GET /api/x')).status).toBe(200)
    endSession()
    await Promise.all(clients.map((client) => client.receives('event: session_ended\n')))
    for (const client of clients) client.destroy()
  }, 120_000)
})
