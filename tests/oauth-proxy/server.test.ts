import { once } from 'node:events'
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from '@jest/globals'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { Registry, silentLogger } from '@token-handler/shared'
import { parseMetrics } from '../support/metrics.ts'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'

describe('a hardened server', () => {
  let server: Server
  let client: RawClient
  let registry: Registry
  const log: Readonly<Record<string, unknown>>[] = []
  afterEach(() => {
    client.destroy()
    server.closeAllConnections()
    server.close()
  })

  async function serve(handler: RequestListener, prepare = (): void => {}): Promise<void> {
    server = createServer(serverOptions, handler)
    log.length = 0
    registry = new Registry()
    hardenServer(server, { ...silentLogger, info: (fields) => void log.push(fields) }, registry)
    prepare()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    client = await openClient((server.address() as AddressInfo).port)
  }

  /** Waits a 300th of the usual times. */
  const hurry = (): void => {
    server.timeout /= 300
    server.keepAliveTimeout /= 300
  }

  const expecting = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n'

  it('asks for the body of Expect: 100-continue once a handler reads it', async () => {
    await serve((req, res) => void text(req).then((body) => res.end(`got ${body}`)))
    client.send(expecting)
    expect((await client.answer()).status).toBe(100)
    client.send('body')
    expect((await client.answer()).body).toBe('got body')
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await client.answer()).body).toBe('got ')
  })

  it('does not ask for it when a handler answers without', async () => {
    await serve((_req, res) => res.writeHead(403).end())
    client.send(expecting)
    expect((await client.answer()).status).toBe(403)
    await client.closed()
    expect(client.received).toBe('')
  })

  it('[D-OPS-06] leaves one line for what it refuses itself', async () => {
    await serve((_req, res) => res.end())
    for (const [bytes, code, status] of [
      ['nonsense\r\n\r\n', 'invalid_request', 400],
      ['CONNECT api.internal:80 HTTP/1.1\r\nHost: a\r\n\r\n', 'method_not_allowed', 405],
      [`GET / HTTP/1.1\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`, 'headers_too_large', 431],
    ] as const) {
      const other = await openClient((server.address() as AddressInfo).port)
      other.send(bytes)
      const answer = await other.answer()
      expect(answer.status).toBe(status)
      await other.closed()
      const [id] = answer.values('x-request-id')
      expect(id).toMatch(/^[\da-f-]{36}$/)
      expect(answer.values('content-security-policy')).toEqual(["default-src 'none'; frame-ancestors 'none'"])
      expect(log.at(-1)).toMatchObject({ event: 'request_refused', code, status, id })
    }
    expect(log).toHaveLength(3)
    expect(JSON.stringify(log)).not.toMatch(/nonsense|internal|xxx/)
    expect([...parseMetrics(await registry.metrics())].filter(([name]) => name.includes('unparsed'))).toEqual([
      ['token_handler_unparsed_requests_total{code="invalid_request"}', 1],
      ['token_handler_unparsed_requests_total{code="method_not_allowed"}', 1],
      ['token_handler_unparsed_requests_total{code="headers_too_large"}', 1],
      ['token_handler_unparsed_requests_total{code="payload_too_large"}', 0],
      ['token_handler_unparsed_requests_total{code="request_timeout"}', 0],
    ])
  })

  it('counts connections beyond its limit', async () => {
    await serve((_req, res) => res.end())
    server.maxConnections = 1
    const other = await openClient((server.address() as AddressInfo).port)
    await other.closed()
    expect(parseMetrics(await registry.metrics()).get('token_handler_dropped_connections_total')).toBe(1)
  })

  it('does not reset a client that goes on with its nonsense', async () => {
    await serve((_req, res) => res.end())
    client.socket.pause()
    for (let piece = 0; piece < 5; piece++) {
      client.send('nonsense\r\n\r\n')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    client.socket.resume()
    expect((await client.answer()).status).toBe(400)
    await client.closed()
    expect(client.failure).toBeUndefined()
  })

  it.each([
    ['its answer', ''],
    ['its answer, and turns to nonsense', 'nonsense\r\n\r\n'],
  ])('[D-LIM-01] cuts off a client that takes nothing of %s', async (_what, more) => {
    const answers: ServerResponse[] = []
    const large = Buffer.alloc(32 * 1024 * 1024)
    await serve((_req, res) => {
      answers.push(res)
      if (more === '') res.end(large)
      else res.write(large)
    }, hurry)
    client.socket.pause()
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(server, 'request')
    const { socket } = answers[0] ?? {}
    client.send(more)
    await until('the end of the connection', () => socket?.destroyed === true)
    expect(answers[0]?.writableFinished).toBe(false)
  })

  it('waits for answers that take their time, and closes idle connections', async () => {
    const answers: ServerResponse[] = []
    await serve((_req, res) => void answers.push(res), hurry)
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(server, 'timeout')
    answers[0]?.write('first')
    await client.receives('first')
    await once(server, 'timeout')
    answers[0]?.end('last')
    expect((await client.answer()).body).toBe('firstlast')
    await client.closed()
  })

  it.each([
    ['turns to nonsense', 'nonsense\r\n\r\n'],
    ['asks for a tunnel', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'],
  ])('writes nothing into an answer that has begun when the connection %s', async (_how, bytes) => {
    await serve((_req, res) => {
      res.writeHead(200, { 'content-length': '10' })
      res.write('half')
    })
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.receives('half')
    client.send(bytes)
    await client.closed()
    expect(client.received.endsWith('half')).toBe(true)
  })
})
