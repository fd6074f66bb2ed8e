import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, describe, expect, it } from '@jest/globals'
import { Registry } from '@token-handler/shared'
import { parseMetrics } from '../support/metrics.ts'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

/** Every byte there is, again and again. */
const bodyOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => index % 256))
const chunked = (body: Buffer): Buffer =>
  body.length === 0
    ? Buffer.from('0\r\n\r\n')
    : Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])

const framings: readonly [name: string, (body: Buffer) => readonly [header: string, framed: Buffer]][] = [
  ['of a known length', (body) => [`Content-Length: ${body.length}`, body]],
  ['in chunks', (body) => ['Transfer-Encoding: chunked', chunked(body)]],
  ['up to the end of the connection', (body) => ['Connection: close', body]],
]

describe('answers that are passed on in a batch', () => {
  let proxy: ProxyUnderTest
  const clients: RawClient[] = []
  const undo: (() => void)[] = []
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(async () => {
    for (const step of undo.splice(0)) step()
    for (const client of clients.splice(0)) client.destroy()
    await proxy.close()
  })

  async function send(bytes: string): Promise<RawClient> {
    const client = await openClient(proxy.port)
    clients.push(client)
    client.send(bytes)
    return client
  }

  /** Does something once the head of an answer, or all of it, came in, before the end of the event loop's turn. */
  function on(part: 'headers' | 'trailers', step: () => void): void {
    const channel = `undici:request:${part}`
    const stepOnce = (): void => {
      unsubscribe(channel, stepOnce)
      step()
    }
    subscribe(channel, stepOnce)
    undo.push(() => unsubscribe(channel, stepOnce))
  }

  it.each(framings)('come to the byte, whatever their size and however they arrive: %s', async (_, frame) => {
    const answers = [0, 1, 256, 4096, 4097, 20_000].flatMap((length) =>
      [Infinity, 1, 3000].map((piece) => ({ body: bodyOf(length), piece })),
    )
    await start({
      script: {
        onRequest: ({ target }, socket) => {
          const { body, piece } = answers[Number(target.split('/').at(-1))] ?? { body: Buffer.alloc(0), piece: 0 }
          const [header, framed] = frame(body)
          socket.write(`HTTP/1.1 200 OK\r\n${header}\r\nContent-Type: application/octet-stream\r\n\r\n`)
          const finish = (): void => void (header === 'Connection: close' && socket.end())
          const [first, rest] = [framed.subarray(0, piece), framed.subarray(piece)]
          socket.write(first)
          if (rest.length === 0) finish()
          else
            setImmediate(() => {
              socket.write(rest)
              finish()
            })
          return undefined
        },
      },
    })
    for (const [index, { body }] of answers.entries()) {
      const answer = await proxy.call(`GET /api/${index}`)
      expect([index, answer.status, answer.body === body.toString('latin1')]).toEqual([index, 200, true])
    }
  })

  it('come to POST and HEAD, and with 204 and 304, without what does not belong', async () => {
    const statuses: Readonly<Record<string, string>> = {
      '/api/204': 'HTTP/1.1 204 No Content\r\n\r\n',
      '/api/304': 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    }
    await start({
      script: {
        onRequest: ({ method, target }) =>
          method === 'HEAD'
            ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'
            : (statuses[target] ?? answerText('hello')),
      },
    })
    const seen = []
    for (const line of ['GET /api/x', 'HEAD /api/x', 'GET /api/204', 'GET /api/304']) {
      const answer = await proxy.call(line)
      seen.push([line, answer.status, answer.values('content-length'), answer.body])
    }
    const posted = await proxy.call('POST /api/x', ['Content-Length: 3'], 'abc')
    expect([posted.status, posted.body]).toEqual([200, 'hello'])
    expect(seen).toEqual([
      ['GET /api/x', 200, ['5'], 'hello'],
      ['HEAD /api/x', 200, ['5'], ''],
      ['GET /api/204', 204, [], ''],
      ['GET /api/304', 304, [], ''],
    ])
  })

  it('keep their order and their connection when many come at once', async () => {
    await start({ script: { onRequest: ({ target }) => answerText(`answer to ${target}`) } })
    const targets = Array.from({ length: 50 }, (_, index) => `/api/${index}`)
    const client = await send(targets.map((target) => proxy.bytes(`GET ${target}`)).join(''))
    for (const target of targets) expect((await client.answer()).body).toBe(`answer to ${target}`)
  })

  it('are not passed on when their session ends within the turn', async () => {
    await start()
    on('trailers', () => {
      proxy.clock.advanceSeconds(1)
      const now = proxy.clock.now()
      proxy.rules.add({ key: `sid:${proxy.session.sid}`, before: now, reason: 'logout', expiresAt: now + 1000 })
    })
    const answer = await proxy.call('GET /api/x')
    expect([answer.status, answer.json().code]).toEqual([401, 'session_ended'])
    expect(answer.raw).not.toContain('{"ok":true}')
    expect(proxy.log.map(({ fields }) => fields['event'])).toEqual(['request_refused'])
  })

  it.each([
    ['small', 'trailers', 11],
    // More than one piece, so that it is passed on before the end of the turn.
    ['large', 'headers', 1_000_000],
  ] as const)('are dropped when their client goes within the turn: %s', async (_, part, length) => {
    const registry = new Registry()
    await start({ registry, script: { onRequest: () => answerText('x'.repeat(length)) } })
    on(part, () => proxy.server.closeAllConnections())
    const client = await send(proxy.bytes('GET /api/x'))
    await client.closed()
    expect(client.received).toBe('')
    const metrics = parseMetrics(await registry.metrics())
    expect(metrics.get('token_handler_proxy_requests_total{route="/api",outcome="client_gone"}')).toBe(1)
    expect((await proxy.call('GET /api/y')).status).toBe(200)
  })

  it('are still sent when the proxy is closed within the turn', async () => {
    await start()
    on('trailers', () => void proxy.proxy.close().then(() => proxy.server.closeAllConnections()))
    expect((await proxy.call('GET /api/x')).body).toBe('{"ok":true}')
  })

  it('are 502, and the process goes on, when Node refuses to send them', async () => {
    await start({
      prepare: (server) => {
        server.prependListener('request', (_req, res) => {
          const writeHead = res.writeHead.bind(res)
          // As middleware of an app does that wraps it.
          res.writeHead = () => {
            res.writeHead = writeHead
            throw Object.assign(new TypeError('Invalid character in header content'), { code: 'ERR_INVALID_CHAR' })
          }
        })
      },
    })
    const answer = await proxy.call('GET /api/x')
    expect([answer.status, answer.json().code]).toEqual([502, 'upstream_invalid_response'])
    expect(proxy.log[0]?.fields).toMatchObject({ code: 'upstream_invalid_response' })
  })
})
