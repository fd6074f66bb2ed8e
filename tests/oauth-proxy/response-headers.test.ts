import { afterEach, describe, expect, it } from '@jest/globals'
import { Canaries } from '../support/canary.ts'
import { exchange, type RawAnswer } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('what the browser gets of an answer', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  /** The answer to a GET when the API sends these header lines. */
  async function answerWith(
    headers: readonly string[],
    { status = '200 OK', body = '{}', ...setup }: ProxySetup & { status?: string; body?: string } = {},
  ): Promise<RawAnswer> {
    proxy = await startProxy({ ...setup, script: { onRequest: () => answerText(body, { status, headers }) } })
    return proxy.call('GET /api/x')
  }

  const namesOf = ({ headers }: RawAnswer): string[] => headers.map(([name]) => name.toLowerCase()).toSorted()

  const nameOf = (line: string): string => line.slice(0, line.indexOf(':')).toLowerCase()

  const always = ['cache-control', 'connection', 'content-length', 'content-security-policy', 'date', 'keep-alive']
  const ours = [...always, 'vary', 'x-content-type-options', 'access-control-allow-origin']
  const all = [...ours, 'access-control-allow-credentials', 'access-control-expose-headers'].toSorted()

  it('is what the API says about its content', async () => {
    const passed = [
      'Content-Type: application/json; charset=utf-8',
      'Content-Disposition: attachment; filename="a.csv"',
      'Content-Language: de',
      'ETag: W/"1"',
      'Last-Modified: Tue, 01 Jan 2030 00:00:00 GMT',
      'Accept-Ranges: bytes',
      'Retry-After: 3',
      'Allow: GET',
      'X-Total-Count: 17',
      'RateLimit: limit=10',
      'Deprecation: @1688169599',
    ]
    const answer = await answerWith(passed)
    for (const line of passed) {
      const [name = '', ...value] = line.split(':')
      expect(answer.values(name.toLowerCase())).toEqual([value.join(':').trim()])
    }
    expect(namesOf(answer)).toEqual([...all, ...passed.map(nameOf)].toSorted())
  })

  it('[D-RL-01] is no cookie, whatever its name', async () => {
    const answer = await answerWith([
      'Set-Cookie: __Host-Http-th-sid=stolen; Path=/; Secure; HttpOnly',
      'set-cookie: __Secure-th-at-abcdefgh=x; Path=/api; Domain=example.com; Secure',
      'SET-COOKIE: __host-http-TH-sid.0=x; Path=/; Secure',
      'Set-Cookie2: a=b',
      'Set-Cookie: theme=dark',
    ])
    expect(namesOf(answer)).toEqual(all)
    expect(answer.raw).not.toMatch(/cookie|stolen|theme/i)
  })

  it.each([
    'Access-Control-Allow-Origin: *',
    'Access-Control-Allow-Credentials: false',
    'Clear-Site-Data: "*"',
    'Strict-Transport-Security: max-age=0',
    'Public-Key-Pins: pin-sha256="x"; max-age=1',
    'Content-Security-Policy: default-src *',
    'Content-Security-Policy-Report-Only: default-src *; report-uri https://evil.example',
    'Refresh: 0; url=https://evil.example',
    'Link: </x.js>; rel=preload; as=script',
    'Alt-Svc: h3="evil.example:443"; ma=999999',
    'NEL: {"report_to":"x","max_age":999999}',
    'Report-To: {"group":"x"}',
    'Reporting-Endpoints: x="https://evil.example"',
    'SourceMap: /x.map',
    'X-SourceMap: /x.map',
    'Service-Worker-Allowed: /everything',
    'Timing-Allow-Origin: *',
    'Permissions-Policy: camera=*',
    'Cross-Origin-Resource-Policy: cross-origin',
    'Cross-Origin-Opener-Policy: unsafe-none',
    'Origin-Agent-Cluster: ?0',
    'Speculation-Rules: "/x.json"',
    'Accept-CH: Sec-CH-UA-Model',
    'X-Accel-Redirect: /internal/secret',
    'X-Sendfile: /etc/passwd',
    'X-Content-Type-Options: none',
    'Secure-Session-Registration: (ES256);path="/api/keys"',
    'Secure-Session-Challenge: "x"',
    'Sec-Session-Registration: "x"',
    'Use-As-Dictionary: match="/*"',
    'Shared-Storage-Write: clear',
    'Activate-Storage-Access: load',
    'IdP-SignIn-Status: logged-in',
    'Document-Isolation-Policy: none',
    'Integrity-Policy: blocked-destinations=(script)',
    'Connection-Allowlist: *',
    'Origin-Isolation: ?0',
    'Delegate-CH: sec-ch-ua https://evil.example',
  ])('[D-RL-02] [D-SEC-07] is not %s', async (line) => {
    const answer = await answerWith([line])
    expect(namesOf(answer)).toEqual(all)
    expect(answer.raw).not.toContain(line.slice(line.indexOf(':') + 2))
  })

  it.each([
    'Cache-Control: public, max-age=3600, s-maxage=3600',
    'Expires: Tue, 01 Jan 2040 00:00:00 GMT',
    'Pragma: cache',
    'Age: 10',
    'Surrogate-Control: max-age=3600',
    'CDN-Cache-Control: max-age=3600',
    'Cloudflare-CDN-Cache-Control: max-age=3600',
    'Edge-Control: max-age=3600',
    'X-Accel-Expires: 3600',
  ])('[D-CA-02] is never stored, though the API says %s', async (line) => {
    const answer = await answerWith([line])
    expect(answer.values('cache-control')).toEqual(['no-store'])
    expect(namesOf(answer)).toEqual(all)
  })

  it('says so where calls of the route are no activity, which the API cannot', async () => {
    const lines = ['Token-Handler-Background: 0']
    expect((await answerWith(lines)).values('token-handler-background')).toEqual([])
    await proxy.close()
    const answer = await answerWith(lines, { routes: [{ background: true }] })
    expect(answer.values('token-handler-background')).toEqual(['1'])
    expect(answer.values('access-control-expose-headers')).toContain('Token-Handler-Background')
  })

  it('may be stored on a route without session when the API says so', async () => {
    const answer = await answerWith(['Cache-Control: public, max-age=60'], { routes: [{ session: 'none' }] })
    expect(answer.values('cache-control')).toEqual(['public, max-age=60'])
  })

  it('[D-RL-03] is no header that echoes the request, under any name', async () => {
    const canaries = new Canaries()
    proxy = await startProxy({
      script: {
        onRequest: (request) => {
          const [bearer = ''] = request.values('authorization')
          return answerText('{}', {
            headers: [
              `Authorization: ${bearer}`,
              'Cookie: a=b',
              'DPoP: x',
              'DPoP-Nonce: n',
              `X-Echo: you sent ${bearer}!`,
              `X-Access-Token: ${bearer.slice(7)}`,
              `ETag: "${bearer.slice(7)}"`,
              'X-Fine: 1',
            ],
          })
        },
      },
    })
    canaries.watch('access token', proxy.session.accessToken)
    const answer = await proxy.call('GET /api/x')
    expect(namesOf(answer)).toEqual([...all, 'x-fine'].toSorted())
    expect(canaries.find(answer.raw)).toEqual([])
  })

  it.each<[name: string, value: (token: string) => string, kept: readonly string[]]>([
    ['Location', (token) => `/api/x?t=${token}`, []],
    ['Content-Location', (token) => `/api/x?t=${token}`, []],
    ['Link', (token) => `</api/x?t=${token}>; rel="next"`, []],
    ['Content-Security-Policy', (token) => `report-uri /api/${token}`, []],
    ['Vary', (token) => `Accept, ${token}`, ['Origin']],
    ['WWW-Authenticate', (token) => `Bearer scope="${token}"`, ['Bearer']],
  ])('[D-RL-03] is no %s that echoes the access token', async (name, value, kept) => {
    const status = '401 Unauthorized'
    proxy = await startProxy({
      routes: [{ sandbox: false }],
      script: {
        onRequest: (request) => {
          const [bearer = ''] = request.values('authorization')
          const text = request.target.endsWith('/echo') ? bearer.slice(7) : 'other'
          return answerText('{}', { status, headers: [`${name}: ${value(text)}`] })
        },
      },
    })
    const canaries = new Canaries()
    canaries.watch('access token', proxy.session.accessToken)
    expect((await proxy.call('GET /api/x')).values(name.toLowerCase())[0]).toContain('other')
    const answer = await proxy.call('GET /api/echo')
    expect(answer.values(name.toLowerCase())).toEqual(kept)
    expect(canaries.find(answer.raw)).toEqual([])
  })

  it.each([
    ['Basic realm="Internal API"', 'Bearer'],
    ['Negotiate', 'Bearer'],
    ['NTLM TlRMTVNTUAAB', 'Bearer'],
    ['DPoP algs="ES256", nonce="secret"', 'Bearer'],
    ['Bearer', 'Bearer'],
    ['bearer realm="https://api.internal:8080/"', 'Bearer'],
    [
      'Bearer realm="x", error="invalid_token", error_description="key 7 of kv.internal"',
      'Bearer error="invalid_token"',
    ],
    [
      'Bearer error="insufficient_user_authentication", acr_values="a b", max_age=60',
      'Bearer error="insufficient_user_authentication", acr_values="a b", max_age="60"',
    ],
    ['Basic realm="x, Bearer error=1", Bearer scope="a", Negotiate', 'Bearer scope="a"'],
    ['Basic realm="\\", Bearer error=\\"x"', 'Bearer'],
    ['Bearer error="a\\"b"', 'Bearer'],
    ['===', 'Bearer'],
  ])('[D-RL-04] asks for no password: %s', async (received, sent) => {
    const answer = await answerWith([`WWW-Authenticate: ${received}`], { status: '401 Unauthorized' })
    expect(answer.status).toBe(401)
    expect(answer.values('www-authenticate')).toEqual([sent])
  })

  const stronger = 'Bearer error="insufficient_user_authentication", acr_values="a b", max_age="60"'
  it.each([
    [[stronger]],
    [['BEARER Error=insufficient_user_authentication , ACR_VALUES="a b",max_age=60']],
    [[`Basic realm="x", ${stronger}, error_description="at 10.0.0.1", Negotiate`]],
    [['Negotiate', stronger.replace('Bearer ', 'Bearer realm="internal", ')]],
    [[stronger, 'Basic realm="x"']],
  ])('[B-SU-01] says what a stronger login needs, and nothing else: %j', async (challenges) => {
    const lines = challenges.map((challenge) => `WWW-Authenticate: ${challenge}`)
    const answer = await answerWith(lines, { status: '401 Unauthorized' })
    expect([answer.status, answer.values('www-authenticate')]).toEqual([401, [stronger]])
  })

  it('[D-RL-04] asks for no password of a proxy', async () => {
    const lines = ['Proxy-Authenticate: Basic', 'Authentication-Info: x', 'Proxy-Authentication-Info: x']
    expect(namesOf(await answerWith(lines))).toEqual(all)
  })

  it('[D-RL-04] is read in linear time', async () => {
    const started = process.cpuUsage()
    await answerWith([`WWW-Authenticate: Bearer ${' ,\t'.repeat(1000)}x${'"\\'.repeat(2000)}`], {
      status: '401 Unauthorized',
    })
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000)
  })

  it.each([
    'Server: nginx/1.2.3',
    'X-Powered-By: PHP/5',
    'Via: 1.1 internal-lb',
    'X-Upstream-Addr: 10.0.0.5:80',
    'X-Debug-Token: x',
    'X-AspNet-Version: 4',
    'X-Envoy-Upstream-Service-Time: 3',
    'X-Backend-Server: api7',
    'Server-Timing: db;dur=53',
    'X-Real-IP: 10.0.0.1',
  ])('[D-RL-06] [D-SEC-06] does not tell of the inside: %s', async (line) => {
    expect(namesOf(await answerWith([line]))).toEqual(all)
  })

  it.each(['text/html', 'image/svg+xml', 'text/xml', 'application/octet-stream'])(
    '[D-RL-07] runs nothing in our origin: %s',
    async (type) => {
      const answer = await answerWith([`Content-Type: ${type}`], {
        body: '<script>fetch("/oauth-agent/session")</script>',
      })
      expect(answer.values('content-security-policy')).toEqual(['sandbox'])
      expect(answer.values('x-content-type-options')).toEqual(['nosniff'])
    },
  )

  it('[D-RL-07] runs in our origin only where the route opts out, and then under the policy of the API', async () => {
    const answer = await answerWith(["Content-Security-Policy: default-src 'self'"], { routes: [{ sandbox: false }] })
    expect(answer.values('content-security-policy')).toEqual(["default-src 'self'"])
    expect(answer.values('x-content-type-options')).toEqual([])
  })

  it.each([
    ['nosniff', ['nosniff']],
    ['NoSniff, nosniff', ['nosniff']],
    ['none', []],
    ['x, nosniff', []],
  ])('[D-RL-07] is not sniffed there either where the API says X-Content-Type-Options: %s', async (value, expected) => {
    const answer = await answerWith([`X-Content-Type-Options: ${value}`], { routes: [{ sandbox: false }] })
    expect(answer.values('x-content-type-options')).toEqual(expected)
  })

  it.each([
    ['with the body', 0, 'text/plain'],
    ['before the body', 50, 'text/plain'],
    ['before the first event', 50, 'text/event-stream'],
  ])('has the bytes of the API in its values, %s', async (_when, delayMs, type) => {
    const name = 'attachment; filename="na\u00efve-\u20ac.pdf"'
    const bytes = Buffer.from(
      `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Disposition: ${name}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    )
    proxy = await startProxy({
      script: {
        onRequest: (_request, socket) => {
          if (delayMs > 0) socket.write(bytes)
          const body = Buffer.from('2\r\n\n\n\r\n0\r\n\r\n')
          setTimeout(() => socket.write(delayMs > 0 ? body : Buffer.concat([bytes, body])), delayMs)
          return undefined
        },
      },
    })
    const [received = ''] = (await proxy.call('GET /api/x')).values('content-disposition')
    expect(Buffer.from(received, 'latin1').toString('utf8')).toBe(name)
  })

  it.each([
    'Keep-Alive: timeout=1234',
    'Proxy-Connection: x',
    'TE: x',
    'Trailer: X-T',
    'Upgrade: h2c',
    'Connection: X-Hop\r\nX-Hop: 1',
    'Connection: close, X-Hop\r\nX-Hop: 1',
  ])('[D-HDR-04] is nothing of the other hop: %s', async (lines) => {
    const answer = await answerWith(lines.split('\r\n'))
    expect(namesOf(answer)).toEqual(all)
    expect(answer.raw).not.toMatch(/1234|h2c|x-hop/i)
  })

  it('[D-RL-02] names each answer that differs by origin', async () => {
    expect((await answerWith([])).values('vary')).toEqual(['Origin'])
    await proxy.close()
    expect((await answerWith(['Vary: Accept', 'Vary: X-A'])).values('vary')).toEqual(['Origin, Accept, X-A'])
    await proxy.close()
    expect((await answerWith(['Vary: *'])).values('vary')).toEqual(['*'])
  })

  describe('addresses', () => {
    /** What becomes of a Location on the route `/api` to `/v1`. */
    async function locationOf(value: string, upstreamPath: string | null = '/v1'): Promise<string | undefined> {
      proxy = await startProxy({
        routes: [upstreamPath === null ? {} : { upstreamPath }, { path: '/pub' }],
        script: {
          onRequest: () =>
            answerText('', {
              status: '302 Found',
              headers: [`Location: ${value.replace('UPSTREAM', proxy.upstream.origin)}`],
            }),
        },
      })
      const answer = await proxy.call('GET /api/orders/1?x=y')
      expect(answer.status).toBe(302)
      expect(proxy.upstream.requests).toHaveLength(1)
      return answer.values('location')[0]
    }

    it.each([
      ['UPSTREAM/v1/orders/2?a=b#c', '/api/orders/2?a=b#c'],
      ['/v1/orders/2', '/api/orders/2'],
      ['/v1', '/api'],
      ['/v1/na\xc3\xafve/\xe2\x82\xac?q=\xc3\xa9', '/api/na%C3%AFve/%E2%82%AC?q=%C3%A9'],
      ['2', '/api/orders/2'],
      ['?page=2', '/api/orders/1?page=2'],
      ['../orders', '/api/orders'],
      ['https://www.example.com/pub/x', '/pub/x'],
      ['https://login.example.org/start?x=1', 'https://login.example.org/start?x=1'],
      ['//cdn.example.org/x', 'http://cdn.example.org/x'],
    ])('[D-SSRF-02] that a browser can use become its own: %s', async (value, expected) => {
      expect(await locationOf(value)).toBe(expected)
    })

    it.each([
      '/login',
      '/v2/x',
      '/v1x',
      '../../../etc',
      'UPSTREAM/',
      '/v1/a//b',
      '/v1/%2e%2e/x',
      'http://api.internal/v1',
      'http://10.0.0.5/x',
      'http://192.168.1.1/x',
      'http://172.20.1.1/x',
      'http://169.254.169.254/latest/meta-data',
      'http://0x7f.1/x',
      'http://2130706433/',
      'http://[::1]/x',
      'http://[fd00::1]/x',
      'http://[::ffff:10.0.0.1]/x',
      'http://api/x',
      'http://api.cluster.local/x',
      'http://localhost:8080/x',
      'https://user:pw@login.example.org/',
      'javascript:alert(1)',
      'data:text/html,x',
      'https://www.example.com/admin',
      'http://[bad',
    ])('[D-SSRF-02] that lead inside or out of our routes are dropped: %s', async (value) => {
      expect(await locationOf(value)).toBeUndefined()
    })

    it('[D-SSRF-02] of a route that changes no path stay as they are', async () => {
      expect(await locationOf('/api/orders/2', null)).toBe('/api/orders/2')
    })

    it('[D-SSRF-02] are never followed with the token', async () => {
      const other = await startProxy()
      try {
        expect(await locationOf(`${other.upstream.origin}/x`)).toBeUndefined()
        expect(other.upstream.received()).toBe('')
      } finally {
        await other.close()
      }
    })

    it.each([
      ['<http://localhost/x>; rel="next"', []],
      [
        '</v1/orders?page=2>; rel="next", </v1/orders?page=9>; rel=last',
        ['</api/orders?page=2>; rel="next", </api/orders?page=9>; rel="last"'],
      ],
      ['</v1/a.css>; rel=preload; as=style, </v1/orders?page=2>; rel="next"', []],
      [
        '<https://evil.example>; rel="preconnect", </v1/orders?page=2>; rel="next"',
        ['</api/orders?page=2>; rel="next"'],
      ],
    ])('[D-RL-02] in Link only tell where to page on: %s', async (value, expected) => {
      const answer = await answerWith([`Link: ${value}`], { routes: [{ upstreamPath: '/v1' }] })
      expect(answer.values('link')).toEqual(expected)
    })
  })

  describe('content', () => {
    it.each([
      ['[D-CO-02] is compressed by nobody on the way', 'Accept-Encoding: gzip, br, zstd', [], '200 OK'],
      ['[D-HDR-14] keeps its coding', 'Accept-Encoding: gzip', ['Content-Encoding: gzip'], '200 OK'],
      ['[D-HDR-14] keeps its range', 'Range: bytes=0-3', ['Content-Range: bytes 0-3/100'], '206 Partial Content'],
    ])('%s', async (_what, asked, headers, status) => {
      proxy = await startProxy({
        script: {
          onRequest: () => answerText('\x1f\x8b\x08\xff', { status, headers }).replace('Length: 6', 'Length: 4'),
        },
      })
      const answer = await proxy.call('GET /api/x', [asked])
      expect(answer.body).toBe('\x1f\x8b\x08\xff')
      expect(answer.status).toBe(Number(status.slice(0, 3)))
      expect(answer.values('content-encoding')).toEqual(headers.includes('Content-Encoding: gzip') ? ['gzip'] : [])
      expect(proxy.upstream.requests[0]?.raw).toContain(asked.slice(asked.indexOf(': ')))
    })

    it('[D-HDR-14] of a 304 is none', async () => {
      proxy = await startProxy({ script: { onRequest: () => 'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n' } })
      const answer = await proxy.call('GET /api/x', ['If-None-Match: "1"'])
      expect(answer.status).toBe(304)
      expect(answer.values('etag')).toEqual(['"1"'])
      expect(proxy.upstream.requests[0]?.values('if-none-match')).toEqual(['"1"'])
    })

    it('[D-CA-05] is the answer to who asks: a condition or range that fits another user is judged anew', async () => {
      proxy = await startProxy({
        script: {
          onRequest: (request) => {
            const isFirst = request.values('authorization')[0] === `Bearer ${proxy.session.accessToken}`
            const etag = isFirst ? '"a"' : '"b"'
            if (request.values('if-none-match')[0] === etag) return `HTTP/1.1 304 Not Modified\r\nETag: ${etag}\r\n\r\n`
            const status = request.values('if-range')[0] === etag ? '206 Partial Content' : '200 OK'
            return answerText(isFirst ? 'of user a' : 'of user b', { status, headers: [`ETag: ${etag}`] })
          },
        },
      })
      const other = proxy.kit.session()
      const askAs = async (cookie: string, ...headers: string[]): Promise<[number, string, string[]]> => {
        const request = proxy.bytes('GET /api/x', headers).replace(proxy.session.cookie, cookie)
        const { status, body, ...answer } = await exchange(proxy.port, request)
        return [status, body, answer.values('cache-control')]
      }
      for (const [name, headers, answer] of [
        ['if-none-match', ['If-None-Match: "a"'], [304, '', ['no-store']]],
        ['if-range', ['If-Range: "a"', 'Range: bytes=0-8'], [206, 'of user a', ['no-store']]],
      ] as const) {
        expect(await askAs(proxy.session.cookie, ...headers)).toEqual(answer)
        expect(await askAs(other.cookie, ...headers)).toEqual([200, 'of user b', ['no-store']])
        const passed = proxy.upstream.requests.slice(-2).map((request) => request.values(name))
        expect(passed).toEqual([['"a"'], ['"a"']])
      }
    })

    it('of a 204 is none, and has no length', async () => {
      proxy = await startProxy({ script: { onRequest: () => 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n' } })
      const answer = await proxy.call('DELETE /api/x')
      expect(answer.status).toBe(204)
      expect(answer.values('content-length')).toEqual([])
      expect(answer.values('transfer-encoding')).toEqual([])
    })

    it('of an answer to HEAD is none, and its length the one of the GET', async () => {
      proxy = await startProxy({ script: { onRequest: () => 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n' } })
      const answer = await proxy.call('HEAD /api/x')
      expect(answer.status).toBe(200)
      expect(answer.values('content-length')).toEqual(['1234'])
      expect(answer.body).toBe('')
    })

    it('[D-HDR-12] has no trailers', async () => {
      const body = '2\r\n{}\r\n0\r\nSet-Cookie: __Host-Http-th-sid=x\r\nLocation: https://evil.example\r\n\r\n'
      proxy = await startProxy({
        script: {
          onRequest: () => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n${body}`,
        },
      })
      const answer = await proxy.call('GET /api/x')
      expect(answer.body).toBe('{}')
      expect(answer.raw).not.toMatch(/cookie|location|evil|trailer/i)
    })
  })
})
