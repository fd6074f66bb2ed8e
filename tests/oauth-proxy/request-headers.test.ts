import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient } from '../support/raw-client.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

describe('what the API gets of a request', () => {
  let proxy: ProxyUnderTest
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(() => proxy.close())

  /** Header names of the request that the API got, lower case. */
  async function namesOf(headers: readonly string[], requestLine = 'GET /api/x'): Promise<string[]> {
    expect((await proxy.call(requestLine, headers)).status).toBe(200)
    return proxy.upstream.requests.at(-1)?.headers.map(([name]) => name.toLowerCase()) ?? []
  }

  const nameOf = (line: string): string => line.slice(0, line.indexOf(':')).toLowerCase()
  const ours = [
    'host',
    'connection',
    'via',
    'x-forwarded-proto',
    'x-forwarded-host',
    'x-forwarded-for',
    'authorization',
  ]

  it('is what the browser sends for the API, and our headers', async () => {
    await start()
    const passed = [
      'Accept: application/json',
      'Accept-Language: de',
      'User-Agent: Browser/1.0 (X; Y)',
      'If-None-Match: "a"',
      'Range: bytes=0-9',
      'Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'X-Requested-With: XMLHttpRequest',
      'X-Api-Key: k',
      'X-User-Agent: grpc-web',
      'DNT: 1',
    ]
    const names = await namesOf(passed)
    expect(names.toSorted()).toEqual([...ours, ...passed.map(nameOf)].toSorted())
    for (const line of passed) {
      const [name = '', ...rest] = line.split(':')
      expect(proxy.upstream.requests[0]?.values(name.toLowerCase())).toEqual([rest.join(':').trim()])
    }
  })

  it.each([
    ['one', ['Authorization: Bearer stolen']],
    ['two', ['Authorization: Bearer one', 'authorization: Basic dHdv']],
    ['lower case', ['authorization: bearer stolen']],
    ['of a proxy', ['Proxy-Authorization: Basic eDp5']],
    ['with broken escapes', ['Authorization: Bearer %E0%A4%A']],
    ['of DPoP', ['DPoP: eyJhbGciOiJub25lIn0.e30.', 'Authorization: DPoP x']],
  ])('[D-HDR-01] [D-HDR-13] [F-AJ-2] is our Authorization and never the client’s: %s', async (_what, headers) => {
    const { session, upstream } = await start()
    await namesOf(headers)
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
    expect(upstream.received()).not.toMatch(/stolen|Basic|dpop|proxy-auth|%E0/i)
  })

  it.each(['GET /api/x?q=1', 'POST /api/x'])(
    '[B-FA-01] [C-06] has the access token once, in Authorization: %s',
    async (requestLine) => {
      const { call, session, upstream } = await start()
      const body = 'q=1'
      const form = ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`]
      const isPost = requestLine.startsWith('POST')
      expect((await call(requestLine, isPost ? form : [], isPost ? body : '')).status).toBe(200)
      expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
      expect(upstream.received().split(session.accessToken)).toHaveLength(2)
      expect(upstream.requests[0]?.target).toBe(requestLine.split(' ')[1])
      expect(upstream.requests[0]?.body).toBe(isPost ? body : '')
    },
  )

  it('[D-HDR-01] [F-EN-1] is nothing when a client has a bearer token and no cookie', async () => {
    const { port, upstream } = await start()
    const client = await openClient(port)
    client.send('GET /api/x HTTP/1.1\r\nHost: a\r\ntoken-handler-version: 1\r\nAuthorization: Bearer any\r\n\r\n')
    expect((await client.answer()).status).toBe(401)
    expect(upstream.received()).toBe('')
    client.destroy()
  })

  it('[D-HDR-01] is no Authorization on a route without session', async () => {
    await start({ routes: [{ session: 'none' }] })
    expect(await namesOf(['Authorization: Bearer any'])).not.toContain('authorization')
  })

  it.each([
    'authorization',
    'close, authorization',
    'cookie',
    'x-forwarded-for, cookie',
    'Host',
    'origin',
    'token-handler-version',
    'sec-fetch-site',
    'Content-Length',
    'content-type',
    'transfer-encoding',
    'x-forwarded-host',
    'keep-alive,, AUTHORIZATION ,close',
    'x_odd',
  ])('[D-HDR-02] [F-FA-1] is nothing when Connection names what we rely on: %s', async (value) => {
    const { call, upstream } = await start()
    const answer = await call('GET /api/x', [`Connection: ${value}`])
    expect(answer.status).toBe(400)
    expect(answer.json().code).toBe('invalid_request')
    expect(upstream.received()).toBe('')
  })

  it('[D-HDR-02] has none of the other headers that Connection names', async () => {
    const { session, upstream } = await start()
    const names = await namesOf(['Connection: keep-alive, X-Hop', 'X-Hop: 1', 'X-End: 2'])
    expect(names).not.toContain('x-hop')
    expect(names).toContain('x-end')
    expect(upstream.requests[0]?.values('connection')).toEqual(['keep-alive'])
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
  })

  it('[D-HDR-03] [F-HP-7] never holds our cookies or a foreign bearer when the client expects 100-continue', async () => {
    const { port, bytes, upstream, session } = await start()
    const client = await openClient(port)
    client.send(bytes('POST /api/x', ['Expect: 100-continue', 'Authorization: Bearer stolen', 'Content-Length: 4']))
    expect((await client.answer()).status).toBe(100)
    client.send('body')
    expect((await client.answer()).status).toBe(200)
    expect(upstream.requests[0]?.body).toBe('body')
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
    expect(upstream.received()).not.toMatch(/stolen|expect|cookie|th-sid/i)
    client.destroy()
  })

  it('[D-HDR-03] is nothing, and no body is asked for, when the session is missing', async () => {
    const { port, upstream } = await start()
    const client = await openClient(port)
    client.send(
      'POST /api/x HTTP/1.1\r\nHost: a\r\ntoken-handler-version: 1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
    )
    expect((await client.answer()).status).toBe(401)
    await client.closed()
    expect(upstream.received()).toBe('')
  })

  it('[D-HDR-03] is nothing when the client expects anything else', async () => {
    const { call, upstream } = await start()
    const answer = await call('GET /api/x', ['Expect: 200-ok'])
    expect(answer.status).toBe(417)
    expect(answer.json().code).toBe('expectation_failed')
    expect(upstream.received()).toBe('')
  })

  it.each([
    ['Keep-Alive', 'timeout=5'],
    ['Proxy-Connection', 'keep-alive'],
    ['TE', 'trailers'],
    ['Trailer', 'X-T'],
    ['Proxy', 'http://evil.example:8080'],
    ['Proxy-Authenticate', 'Basic'],
    ['Proxy-Authorization', 'Basic eDp5'],
    ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
  ])('[D-HDR-04] has no %s', async (name, value) => {
    await start()
    expect(await namesOf([`${name}: ${value}`])).not.toContain(name.toLowerCase())
  })

  it.each([
    'X_Forwarded_For',
    'X-Auth_User',
    'Authorization_',
    'x.user',
    'X_USER',
    'OIDC_CLAIM_sub',
    'Proxy_Authorization',
    'HTTP_AUTHORIZATION',
    'x-forwarded~for',
    '__proto__',
  ])('[D-HDR-06] [F-OP-5] [F-FA-4] has no %s, which CGI takes for another header', async (name) => {
    await start()
    expect((await namesOf([`${name}: spoofed`])).toSorted()).toEqual(ours.toSorted())
    expect(proxy.upstream.received()).not.toContain('spoofed')
  })

  const identityHeaders = ['X-User', 'X-User-Id', 'X-Auth-Request-Email', 'X-Remote-User', 'Remote-User', 'X-Email']
  const more = ['OIDC-Sub', 'X-Amzn-Oidc-Data', 'X-Goog-Iap-Jwt-Assertion', 'X-Ms-Client-Principal', 'X-Access-Token']
  const ofGateways = ['X-authentik-username', 'X-Userinfo', 'X-OIDC-Email', 'Kubeflow-Userid', 'Teleport-Jwt-Assertion']
  it.each([
    ...identityHeaders,
    ...more,
    ...ofGateways,
    'Ssl-Client-Verify',
    'X-Client-Cert',
    'Impersonate-User',
    'X-Tenant-Admin',
  ])('[D-HDR-07] has no %s on any route and method', async (name) => {
    await start({
      routes: [{}, { path: '/public', session: 'none' }],
      options: { identityHeaders: ['X-Tenant-*'] },
    })
    for (const requestLine of ['GET /api/x', 'POST /api/x', 'GET /public/x', 'DELETE /public/x']) {
      expect(await namesOf([`${name}: spoofed`], requestLine)).not.toContain(name.toLowerCase())
    }
  })

  it.each([
    'X-Forwarded',
    'Forwarded-For',
    'X-Forward-For',
    'X-True-Client-IP',
    'X-ProxyUser-IP',
    'Front-End-Https',
    'X-Scheme',
    'X-URL-Scheme',
    'WL-Proxy-Client-IP',
    'X-HTTP-Host-Override',
    'X-Script-Name',
    'Script-Name',
    'X-Path-Info',
    'Path-Info',
    'X-Override-URL',
  ])('has no %s, which some take for where the request comes from, or leads', async (name) => {
    await start()
    expect((await namesOf([`${name}: spoofed`])).toSorted()).toEqual(ours.toSorted())
  })

  it.each([
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-Forwarded-Uri',
    'X-Forwarded-Prefix',
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'X-Original-Method',
    'X-Forwarded-Method',
  ])('[D-HDR-08] [F-OP-9] has no %s, nor is it heeded', async (name) => {
    await start({ routes: [{}, { path: '/api/admin', scopes: ['admin'] }] })
    expect(await namesOf([`${name}: /api/public`])).not.toContain(name.toLowerCase())
    const answer = await proxy.call('GET /api/admin', [`${name}: /api/public`])
    expect(answer.status).toBe(403)
  })

  it.each([
    ['a line break', 'token\r\nX-Injected: 1'],
    ['NUL', 'token\0x'],
    ['a letter outside Latin-1', 'token\u2028'],
  ])('[D-HDR-09] [F-MO-16] is nothing when the sealed token has %s', async (_what, at) => {
    const { kit, call, upstream, session, log } = await start()
    const odd = kit.session({ at })
    const answer = await call('GET /api/x', []).then(() =>
      proxy.call('GET /api/y', []).then(async () => {
        const client = await openClient(proxy.port)
        client.send(proxy.bytes('GET /api/z').replace(session.cookie, odd.cookie))
        const got = await client.answer()
        client.destroy()
        return got
      }),
    )
    expect(answer.status).toBe(500)
    expect(answer.json().code).toBe('server_error')
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/api/x', '/api/y'])
    expect(upstream.received()).not.toContain('Injected')
    expect(log.some(({ level, fields }) => level === 'error' && fields['code'] === 'server_error')).toBe(true)
  })

  it('[D-HDR-10] is nothing when a value has bytes outside ASCII', async () => {
    const { call, upstream } = await start()
    const answer = await call('GET /api/x', ['X-Name: caf\xe9'])
    expect(answer.status).toBe(400)
    expect(upstream.received()).toBe('')
  })

  it('[D-HDR-10] is nothing when a value is over 8 KB, all headers over 16 KB, or there are more than 200', async () => {
    const { call, upstream } = await start()
    for (const headers of [
      [`X-Long: ${'x'.repeat(8193)}`],
      [`X-Long: ${'x'.repeat(17_000)}`],
      Array.from({ length: 201 }, (_, index) => `X-${index}: 1`),
    ]) {
      const answer = await call('GET /api/x', headers)
      expect(answer.status).toBe(431)
      expect(answer.json().code).toBe('headers_too_large')
    }
    expect(upstream.received()).toBe('')
  })

  it.each(['evil.example', 'www.example.com:0', '[::1]', 'www.example.com.', 'x'.repeat(1024), '127.0.0.1:1'])(
    '[D-HDR-11] [D-SSRF-01] has the configured host whatever the client’s is: %s',
    async (host) => {
      const { port, session, upstream } = await start()
      const client = await openClient(port)
      client.send(
        `GET /api/x HTTP/1.1\r\nHost: ${host}\r\ntoken-handler-version: 1\r\nX-Forwarded-Host: ${host}\r\nForwarded: host=${host}\r\nCookie: ${session.cookie}\r\n\r\n`,
      )
      expect((await client.answer()).status).toBe(200)
      expect(upstream.requests[0]?.values('host')).toEqual([upstream.origin.slice('http://'.length)])
      expect(upstream.requests[0]?.values('x-forwarded-host')).toEqual(['www.example.com'])
      expect(upstream.requests[0]?.values('forwarded')).toEqual([])
      client.destroy()
    },
  )

  it.each([
    ['no Host', ''],
    ['two Hosts', 'Host: www.example.com\r\nHost: evil.example\r\n'],
  ])('[D-HDR-11] is nothing with %s', async (_what, hosts) => {
    const { port, session, upstream } = await start()
    const client = await openClient(port)
    client.send(`GET /api/x HTTP/1.1\r\n${hosts}token-handler-version: 1\r\nCookie: ${session.cookie}\r\n\r\n`)
    const answer = await client.answer()
    expect(answer.status).toBe(400)
    expect(answer.json().code).toBe('invalid_request')
    expect(upstream.received()).toBe('')
    client.destroy()
  })

  it('is nothing with two content types', async () => {
    const { call, upstream } = await start()
    const headers = ['Content-Type: text/plain', 'Content-Type: application/json', 'Content-Length: 2']
    expect((await call('POST /api/x', headers, '{}')).status).toBe(400)
    expect(upstream.received()).toBe('')
  })

  it('[D-HDR-12] has no trailers', async () => {
    const { call, upstream, session } = await start()
    const body = '4\r\nbody\r\n0\r\nAuthorization: Bearer stolen\r\nX-T: 1\r\n\r\n'
    const answer = await call('POST /api/x', ['Transfer-Encoding: chunked', 'Trailer: Authorization, X-T'], body)
    expect(answer.status).toBe(200)
    expect(upstream.requests[0]?.body).toBe('4\r\nbody\r\n0\r\n\r\n')
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
    expect(upstream.received()).not.toContain('stolen')
  })

  it('has no Origin, Referer or Fetch Metadata: they were judged, and describe another host', async () => {
    await start()
    expect((await namesOf(['Referer: https://www.example.com/private?code=1'])).toSorted()).toEqual(ours.toSorted())
  })

  describe('cookies', () => {
    it('[A-21] are none unless the route names them', async () => {
      const { upstream, session } = await start()
      await proxy.call('GET /api/x', ['Cookie: other=1; theme=dark'])
      expect(upstream.received().toLowerCase()).not.toMatch(/cookie|theme|other=/)
      expect(upstream.received()).not.toContain(session.sid)
    })

    it('[A-21] [D-TO-11] [F-MO-8] are the named ones with their bytes, and never ours', async () => {
      const { upstream, kit, session } = await start({
        routes: [{ forwardCookies: ['theme', 'b', '__Host-Http-th-sid', '__secure-th-at-x'] }],
      })
      const cookie = `;; theme="x; ${session.cookie}; a=1;b=2=3 ;\tb=y=\t; __Secure-th-at-x=1; lone; =nameless; THEME=z`
      const client = await openClient(proxy.port)
      client.send(proxy.bytes('GET /api/x').replace(session.cookie, cookie))
      expect((await client.answer()).status).toBe(200)
      expect(upstream.requests[0]?.values('cookie')).toEqual(['theme="x; b=2=3; b=y='])
      expect(upstream.received()).not.toContain(kit.names.sid)
      client.destroy()
    })

    it('[A-21] are clean when they come in two headers', async () => {
      const { upstream, session } = await start({ routes: [{ forwardCookies: ['theme'] }] })
      const client = await openClient(proxy.port)
      const [sid = '', at = ''] = session.cookie.split('; ')
      client.send(
        proxy.bytes('GET /api/x').replace(`Cookie: ${session.cookie}`, `Cookie: ${sid}\r\nCookie: ${at}; theme=dark`),
      )
      expect((await client.answer()).status).toBe(200)
      expect(upstream.requests[0]?.values('cookie')).toEqual(['theme=dark'])
      client.destroy()
    })

    it('[D-TO-08] are picked in linear time', async () => {
      await start({ routes: [{ forwardCookies: ['theme'] }] })
      const started = process.cpuUsage()
      await proxy.call('GET /api/x', [`Cookie: theme=${' '.repeat(7000)}x${';'.repeat(1000)}`])
      await proxy.call('GET /api/x', [`Cookie: ${'a=b;'.repeat(1800)}`])
      expect(process.cpuUsage(started).user).toBeLessThan(500_000)
    })
  })

  describe('the client’s address', () => {
    it('[A-29] is the peer’s, whatever the client says', async () => {
      const { upstream } = await start()
      const spoofed = ['X-Forwarded-For: 203.0.113.9', 'X-Real-IP: 203.0.113.9', 'Forwarded: for=203.0.113.9']
      const names = await namesOf([...spoofed, 'X-Forwarded-Proto: gopher', 'X-Forwarded-Port: 1', 'True-Client-IP: 1'])
      expect(names.toSorted()).toEqual(ours.toSorted())
      expect(upstream.requests[0]?.values('x-forwarded-for')).toEqual(['127.0.0.1'])
      expect(upstream.requests[0]?.values('x-forwarded-proto')).toEqual(['https'])
    })

    it('[A-29] is appended to the chain that a trusted proxy tells', async () => {
      const { upstream } = await start({ options: { trustedProxies: ['127.0.0.0/8'] } })
      await namesOf(['X-Forwarded-For: 203.0.113.9, 2001:db8::1', 'Forwarded: for=198.51.100.1'])
      expect(upstream.requests[0]?.values('x-forwarded-for')).toEqual(['203.0.113.9, 2001:db8::1, 127.0.0.1'])
      expect(upstream.requests[0]?.values('forwarded')).toEqual([])
    })

    it.each(['<script>', '203.0.113.9;x', `1.2.3.4,${' 1.2.3.4,'.repeat(200)}1.2.3.4`, ','])(
      'is the peer’s alone when the chain is no chain: %s',
      async (chain) => {
        const { upstream } = await start({ options: { trustedProxies: ['127.0.0.1'] } })
        await namesOf([`X-Forwarded-For: ${chain}`])
        expect(upstream.requests[0]?.values('x-forwarded-for')).toEqual(['127.0.0.1'])
      },
    )
  })
})
