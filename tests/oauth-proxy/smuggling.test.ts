import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient, type RawAnswer, type RawClient } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

/** What an attacker wants to be taken for a request of its own. */
const hidden = 'GET /api/hidden HTTP/1.1\r\nHost: a\r\nX-Hidden: 1\r\n\r\n'

describe('framing: one request in is one request out', () => {
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

  /** Sends bytes as they are and reads one answer. */
  async function send(bytes: string): Promise<{ client: RawClient; answer: RawAnswer }> {
    const client = await open()
    client.send(bytes)
    return { client, answer: await client.answer() }
  }

  async function expectRefused(bytes: string): Promise<void> {
    const { client, answer } = await send(bytes)
    expect(answer.status).toBe(400)
    expect(answer.values('content-type')).toEqual(['application/json'])
    expect(answer.json().code).toBe('invalid_request')
    await client.closed()
    expect(client.received).toBe('')
    expect(proxy.upstream.received()).toBe('')
  }

  it.each([
    ['CL.TE', ['Content-Length: 6', 'Transfer-Encoding: chunked']],
    ['TE.CL', ['Transfer-Encoding: chunked', 'Content-Length: 6']],
    ['unknown coding', ['Transfer-Encoding: xchunked']],
    ['chunked, identity', ['Transfer-Encoding: chunked, identity']],
    ['identity', ['Transfer-Encoding: identity']],
    ['chunked twice in one', ['Transfer-Encoding: chunked, chunked']],
    ['chunked twice', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked']],
    ['a second coding', ['Transfer-Encoding: chunked', 'Transfer-Encoding: x']],
    ['a space before the colon', ['Transfer-Encoding : chunked', 'Content-Length: 6']],
    ['a control character', ['Transfer-Encoding: \x0bchunked']],
    ['quotes', ['Transfer-Encoding: "chunked"']],
  ])('[D-SM-01] answers 400 to Transfer-Encoding with %s, and closes', async (_what, headers) => {
    await start()
    await expectRefused(proxy.bytes('POST /api/x', headers, `0\r\n\r\n${hidden}`))
  })

  it.each(['Transfer-Encoding: CHUNKED', 'Transfer-Encoding: \tchunked', 'Transfer-Encoding:chunked '])(
    '[D-SM-01] takes the odd spelling %j for what it is',
    async (header) => {
      await start()
      const { answer } = await send(proxy.bytes('POST /api/x', [header], '3\r\nabc\r\n0\r\n\r\n'))
      expect(answer.status).toBe(200)
      expect(proxy.upstream.requests.map(({ body }) => body)).toEqual(['3\r\nabc\r\n0\r\n\r\n'])
    },
  )

  it('answers 400 to gzip, chunked: what it would pass on is not what it says', async () => {
    await start()
    const { answer } = await send(proxy.bytes('POST /api/x', ['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n'))
    expect(answer.status).toBe(400)
    expect(proxy.upstream.received()).toBe('')
  })

  it.each(['+5', '5, 5', '5,5', '0x5', '5 5', '-1', '5.0', 'five', '99999999999999999999', ''])(
    '[D-SM-02] answers 400 to Content-Length "%s"',
    async (length) => {
      await start()
      await expectRefused(proxy.bytes('POST /api/x', [`Content-Length: ${length}`], `abcde${hidden}`))
    },
  )

  it('[D-SM-02] answers 400 to two Content-Lengths, equal or not', async () => {
    await start()
    for (const second of [5, 6]) {
      const headers = ['Content-Length: 5', `Content-Length: ${second}`]
      await expectRefused(proxy.bytes('POST /api/x', headers, `abcde${hidden}`))
    }
  })

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    '[D-SM-03] [F-HP-2] keeps the framing of a chunked %s whose body looks like a request',
    async (method) => {
      await start({ routes: [{ methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] }] })
      const client = await open()
      const chunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`
      client.send(proxy.bytes(`${method} /api/outer`, ['Transfer-Encoding: chunked'], chunk))
      expect((await client.answer({ method })).status).toBe(200)
      expect(proxy.upstream.requests.map(({ target }) => target)).toEqual(['/api/outer'])
      expect(proxy.upstream.requests[0]?.values('transfer-encoding')).toEqual(['chunked'])
      expect(proxy.upstream.requests[0]?.body).toContain(hidden)
      client.send(proxy.bytes('GET /api/next'))
      expect((await client.answer()).status).toBe(200)
      expect(proxy.upstream.requests.map(({ target }) => target)).toEqual(['/api/outer', '/api/next'])
    },
  )

  it.each(['GET', 'DELETE', 'OPTIONS', 'POST'])('[D-SM-03] keeps the length of the body of a %s', async (method) => {
    await start({ routes: [{ methods: ['GET', 'POST', 'DELETE', 'OPTIONS'] }] })
    const client = await open()
    client.send(proxy.bytes(`${method} /api/outer`, [`Content-Length: ${hidden.length}`], hidden))
    expect((await client.answer()).status).toBe(200)
    expect(proxy.upstream.requests.map(({ target }) => target)).toEqual(['/api/outer'])
    expect(proxy.upstream.requests[0]?.values('content-length')).toEqual([String(hidden.length)])
    expect(proxy.upstream.requests[0]?.body).toBe(hidden)
  })

  it('[D-SM-03] keeps an empty body empty', async () => {
    await start()
    for (const [method, framing] of [
      ['POST', 'Content-Length: 0'],
      ['POST', 'Transfer-Encoding: chunked'],
      ['DELETE', 'Content-Length: 0'],
      ['DELETE', 'Transfer-Encoding: chunked'],
    ] as const) {
      const body = framing.startsWith('T') ? '0\r\n\r\n' : ''
      expect((await proxy.call(`${method} /api/x`, [framing], body)).status).toBe(200)
      expect(['', '0\r\n\r\n']).toContain(proxy.upstream.requests.at(-1)?.body)
    }
    expect(proxy.upstream.requests).toHaveLength(4)
  })

  it('forwards a chunked body without its extensions', async () => {
    await start()
    const { answer } = await send(
      proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked'], `3;a="${'b'.repeat(30)}"\r\nabc\r\n0;z\r\n\r\n`),
    )
    expect(answer.status).toBe(200)
    expect(proxy.upstream.requests[0]?.body).toBe('3\r\nabc\r\n0\r\n\r\n')
  })

  it('answers 413 to endless chunk extensions', async () => {
    await start()
    const client = await open()
    client.send(proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked'], `3;${'a'.repeat(17_000)}`))
    expect((await client.answer()).status).toBe(413)
    await client.closed()
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it.each([
    ['no number', 'zz\r\nabc\r\n0\r\n\r\n'],
    ['a bare LF', '3\nabc\r\n0\r\n\r\n'],
    ['a negative size', '-3\r\nabc\r\n0\r\n\r\n'],
    ['a huge size', 'fffffffffffffffff\r\nabc\r\n'],
    ['more than it says', '3\r\nabcdef\r\n0\r\n\r\n'],
    ['hexadecimal with 0x', '0x3\r\nabc\r\n0\r\n\r\n'],
  ])('answers 400 to a chunk with %s; the API gets no whole request', async (_what, body) => {
    await start()
    const { client, answer } = await send(proxy.bytes('POST /api/x', ['Transfer-Encoding: chunked'], body + hidden))
    expect(answer.status).toBe(400)
    await client.closed()
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it.each([
    ['obs-fold', 'X-A: 1\r\n X-Folded: 2'],
    ['a tab fold', 'X-A: 1\r\n\tX-Folded: 2'],
    ['a space before the colon', 'X-A : 1'],
    ['a bare CR', 'X-A: 1\rX-B: 2'],
    ['a bare LF', 'X-A: 1\nX-B: 2'],
    ['NUL in a value', 'X-A: 1\x002'],
    ['NUL in a name', 'X-\x00A: 1'],
    ['no colon', 'X-A'],
    ['an empty name', ': 1'],
    ['a letter outside ASCII in a name', 'X-\xc4: 1'],
    ['a space in a name', 'X A: 1'],
  ])('[D-SM-05] answers 400 to %s', async (_what, line) => {
    await start()
    await expectRefused(proxy.bytes('GET /api/x', [line]))
  })

  it('[D-SM-05] answers 400 to lines that end in LF alone', async () => {
    await start()
    await expectRefused(proxy.bytes('GET /api/x').replaceAll('\r\n', '\n'))
  })

  it('[D-SM-05] ignores an empty line before a request', async () => {
    await start()
    expect((await send(`\r\n${proxy.bytes('GET /api/x')}`)).answer.status).toBe(200)
  })

  it('[D-SM-06] never uses the lenient parser', async () => {
    const { server } = await start()
    expect(process.execArgv).not.toContain('--insecure-http-parser')
    expect((server as { insecureHTTPParser?: boolean }).insecureHTTPParser).toBe(false)
  })

  it.each(['HTTP/1.2', 'HTTP/3.7', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/11', 'http/1.1', 'HTTP/1.1 x'])(
    '[D-SM-12] answers 400 to %s',
    async (version) => {
      await start()
      await expectRefused(proxy.bytes('GET /api/x').replace(' HTTP/1.1', ` ${version}`))
    },
  )

  it('[D-SM-12] answers 400 to HTTP/0.9', async () => {
    await start()
    await expectRefused('GET /api/x\r\n\r\n')
  })

  it('[D-SM-12] serves HTTP/1.0 and ends the connection as its client expects', async () => {
    await start({
      script: { onRequest: () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n' },
    })
    const client = await open()
    client.send(proxy.bytes('GET /api/x').replace('HTTP/1.1', 'HTTP/1.0'))
    await client.closed()
    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(client.received).not.toMatch(/transfer-encoding/i)
    expect(client.received.endsWith('\r\n\r\nabc')).toBe(true)
  })

  it('[D-SM-12] keeps an HTTP/1.0 connection only when it is asked to', async () => {
    await start()
    const client = await open()
    const keepAlive = proxy.bytes('GET /api/x', ['Connection: keep-alive']).replace('HTTP/1.1', 'HTTP/1.0')
    client.send(keepAlive)
    expect((await client.answer()).status).toBe(200)
    client.send(keepAlive.replace('keep-alive', 'close'))
    expect((await client.answer()).status).toBe(200)
    await client.closed()
  })

  it('[D-SM-12] answers 400 to chunks in HTTP/1.0, which has none', async () => {
    await start()
    const bytes = proxy
      .bytes('POST /api/x', ['Transfer-Encoding: chunked'], '0\r\n\r\n')
      .replace('HTTP/1.1', 'HTTP/1.0')
    expect((await send(bytes)).answer.status).toBe(400)
    expect(proxy.upstream.received()).toBe('')
  })

  it('answers pipelined requests in their order', async () => {
    await start({ script: { onRequest: ({ target }) => answerText(target) } })
    const client = await open()
    client.send(['/api/1', '/api/2', '/api/3'].map((target) => proxy.bytes(`GET ${target}`)).join(''))
    const bodies = [await client.answer(), await client.answer(), await client.answer()].map(({ body }) => body)
    expect(bodies).toEqual(['/api/1', '/api/2', '/api/3'])
  })

  it('[D-SM-13] reads a refused body to its end and never takes it for a request', async () => {
    await start()
    const client = await open()
    const body = hidden.repeat(3)
    client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    expect((await client.answer()).status).toBe(403)
    client.send(proxy.bytes('GET /api/next'))
    expect((await client.answer()).status).toBe(200)
    expect(proxy.upstream.requests.map(({ target }) => target)).toEqual(['/api/next'])
  })

  it.each([
    ['long', 'Content-Length: 10000000'],
    ['endless', 'Transfer-Encoding: chunked'],
  ])(
    '[D-SM-13] closes the connection after a refused %s body, and the answer arrives whole',
    async (_what, framing) => {
      await start()
      const client = await open()
      client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`)
      const answer = await client.answer()
      expect(answer.status).toBe(403)
      expect(answer.values('connection')).toEqual(['close'])
      const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
      const sending = setInterval(() => client.send(chunk), 5)
      await client.closed()
      clearInterval(sending)
      expect(proxy.upstream.received()).toBe('')
    },
  )

  it('[D-SM-13] gets its answer to a client that sends on regardless and reads late', async () => {
    await start()
    const client = await open()
    client.socket.pause()
    client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n${'x'.repeat(300_000)}`)
    await until('the end of the connection', async () => {
      const count = await new Promise((resolve) => proxy.server.getConnections((_error, number) => resolve(number)))
      return count === 0
    })
    client.socket.resume()
    expect((await client.answer()).json().code).toBe('missing_header')
    await client.closed()
    expect(client.failure).toBeUndefined()
  })

  it('[D-SM-14] answers 405 to TRACE, whatever the route says, and the API sees nothing', async () => {
    await start()
    const { answer } = await send(proxy.bytes('TRACE /api/x'))
    expect(answer.status).toBe(405)
    expect(answer.values('allow')).toEqual(['GET, HEAD, POST, PUT, PATCH, DELETE'])
    expect(answer.raw).not.toContain(proxy.session.sid)
    expect(proxy.upstream.received()).toBe('')
  })

  it('[D-SM-14] answers 405 to CONNECT', async () => {
    await start()
    const { client, answer } = await send(proxy.bytes(`CONNECT 127.0.0.1:${proxy.upstream.port}`))
    expect(answer.status).toBe(405)
    expect(answer.json().code).toBe('method_not_allowed')
    await client.closed()
    expect(proxy.upstream.received()).toBe('')
  })

  it.each(['BREW', 'PROPFIND', 'get', 'PRI', 'QUERY'])('answers 4xx to the method %s', async (method) => {
    await start()
    const { answer } = await send(proxy.bytes(`${method} /api/x`))
    expect([400, 405]).toContain(answer.status)
    expect(proxy.upstream.received()).toBe('')
  })
})
