import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

/** `/api` is open to every session, `/api/admin` asks for a scope that the session lacks, and `/pub` is another API's path. */
describe('the path that is judged is the path that is sent', () => {
  let proxy: ProxyUnderTest
  beforeAll(async () => {
    proxy = await startProxy({
      routes: [
        {},
        { path: '/api/admin', scopes: ['admin'] },
        { path: '/pub', upstreamPath: '/public', session: 'none' },
      ],
    })
  })
  afterAll(() => proxy.close())
  beforeEach(() => {
    ;(proxy.upstream.requests as unknown[]).length = 0
  })

  async function statusOf(target: string): Promise<number> {
    const before = proxy.upstream.received()
    const { status, body } = await proxy.call(`GET ${target}`)
    const isRefused = status >= 400
    expect(proxy.upstream.received() === before).toBe(isRefused)
    expect('code' in (JSON.parse(body) as object)).toBe(isRefused)
    return status
  }

  describe('passes on to the byte', () => {
    it.each([
      '/api',
      '/api/',
      '/api/orders/1',
      '/api/orders/?',
      "/api/-_~!$&'()*+,=:@",
      '/api/a.b/..c/d../.well-known',
      '/api/caf%C3%A9',
      '/api/%E2%82%AC%20x',
      '/api/100%25',
      '/api/a%3Fb%23c%5B%5D',
      '/api/x?q=/../admin',
      '/api/x?q=%2e%2e%2f&r=%00&s=%zz&t[]=\\|"<>^`{}',
      '/api/x??//;a=b',
      '/api/x?q=access_token=1&my_access_token=2&access_tokens=3&q=%26access_token=4&token=5',
    ])('%s', async (target) => {
      expect(await statusOf(target)).toBe(200)
      expect(proxy.upstream.requests[0]?.target).toBe(target)
    })
  })

  it.each([
    '/api/../admin',
    '/api/./x',
    '/api/x/..',
    '/api/.',
    '/api/..',
    '/pub/../internal',
    '/x/../pub/secret',
    '/../api',
  ])('[D-PATH-07] answers 400 to the dot segments of %s', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it.each([
    '/api/%2e%2e/admin',
    '/api/.%2e/admin',
    '/api/%2E./admin',
    '/api/%2e/x',
    '/api/x/%2E%2E',
    '/pub/%2e%2e/internal',
    '/api/a%2eb',
  ])('[D-PATH-02] [F-FA-2] answers 400 to the encoded dots of %s', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it.each([
    ['double', '/api/%252e%252e/admin'],
    ['double', '/api/x%252fy'],
    ['double', '/api/%25%32%65'],
    ['overlong', '/api/%c0%ae%c0%ae/x'],
    ['overlong', '/api/%e0%80%af'],
    ['broken', '/api/%zz'],
    ['broken', '/api/%'],
    ['broken', '/api/%4'],
    ['broken', '/api/%u002e'],
    ['NUL', '/api/%00'],
    ['CR LF', '/api/%0d%0aX:y'],
    ['DEL', '/api/%7f'],
    ['lone', '/api/%ff'],
    ['lone', '/api/%C3'],
    ['surrogate', '/api/%ed%a0%80'],
    ['C1', '/api/%C2%85'],
  ])('[D-PATH-04] [F-HP-3] answers 400 to the %s escape of %s', async (_kind, target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it.each(['/api/%61dmin', '/api/%41', '/%61pi/x', '/api/%7Euser', '/api/a%2Db'])(
    '[D-PATH-04] answers 400 to %s, which escapes what needs no escape: servers decode it before they compare',
    async (target) => {
      expect(await statusOf(target)).toBe(400)
    },
  )

  it.each(['/api%2fadmin', '/api/..%2fadmin', '/api/x%2Fy', '/api/x%5cy', '/api\\..\\admin', '/api/%5C'])(
    '[D-PATH-07] answers 400 to the hidden slash or backslash of %s',
    async (target) => {
      expect(await statusOf(target)).toBe(400)
    },
  )

  it.each(['//api/x', '/api//x', '///evil.example/x', '//evil.example/api', '/api/x//', '//', '/api//?x'])(
    '[D-PATH-08] [F-RO-5] answers 400 to the empty segment of %s and takes it for no authority',
    async (target) => {
      expect(await statusOf(target)).toBe(400)
    },
  )

  it.each(['/api;x=/../admin', '/api/..;/admin', '/api/x;jsessionid=1', '/api/x%3by', '/api/;'])(
    '[D-PATH-10] answers 400 to the parameters of %s',
    async (target) => {
      expect(await statusOf(target)).toBe(400)
    },
  )

  it('[D-PATH-12] [F-OP-4] lets the query take no part in the decision', async () => {
    expect(await statusOf('/api/admin?/api/x')).toBe(403)
    expect(await statusOf('/other?/api/x')).toBe(404)
  })

  it.each([
    '/api/x?access_token=stolen',
    '/api/x?a=1&access_token=stolen',
    '/api/x?access_token',
    '/api/x?a=1;access_token=stolen',
    '/api/x?access%5ftoken=stolen',
    '/api/x?%61ccess_toke%6E=stolen',
    '/api/x?ACCESS_TOKEN=stolen',
    '/api/x?access.token=stolen',
    '/api/x?access+token=stolen',
    '/api/x?access_token[]=stolen',
    '/api/x?access_token%5B0%5D=stolen',
  ])('[B-FA-01] answers 400 to %s: the token of a call is the session’s, and in its header', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it('leaves such a parameter to APIs whose route has no session: nothing stands beside it', async () => {
    expect(await statusOf('/pub/x?access_token=public')).toBe(200)
  })

  it('[D-PATH-12] takes an encoded question mark for a part of the path', async () => {
    expect(await statusOf('/api/admin/x%3f/api')).toBe(403)
    expect(await statusOf('/pub%3f/x')).toBe(404)
  })

  it.each(['/api/x#y', '/api#/admin', '/api?x#y'])('[F-OP-10] answers 400 to the fragment of %s', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it('[F-OP-10] judges what follows an encoded number sign', async () => {
    expect(await statusOf('/api/C%23/x')).toBe(200)
    expect(proxy.upstream.requests[0]?.target).toBe('/api/C%23/x')
    expect(await statusOf('/api/admin/%23')).toBe(403)
    expect(await statusOf('/api/%23/../x')).toBe(400)
  })

  it.each([
    'http://evil.example/api/x',
    'https://evil.example/api/x',
    'https://www.example.com.evil.example/api/x',
    'https://user@www.example.com/api/x',
    'https://www.example.com:8443/api/x',
    'https:///api/x',
    'https://www.example.com\\@evil.example/api/x',
    'ftp://www.example.com/api/x',
    'api/x',
    '*',
  ])('[D-PATH-13] [D-SSRF-01] answers 400 to the target %s', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it('[D-PATH-13] reduces the absolute form to the origin form when it names our host', async () => {
    expect(await statusOf('https://www.example.com/api/x?y')).toBe(200)
    expect(proxy.upstream.requests[0]?.target).toBe('/api/x?y')
    expect(await statusOf('http://WWW.EXAMPLE.COM/api/admin')).toBe(403)
    expect(await statusOf('https://www.example.com')).toBe(404)
  })

  it('[D-PATH-13] answers 400 to OPTIONS *', async () => {
    const answer = await proxy.call('OPTIONS *')
    expect(answer.status).toBe(400)
    expect(answer.json().code).toBe('invalid_request')
  })

  it.each(['/api/.%20', '/api/%20', '/api/%20.', '/api/...', '/pub/.%20.', '/api/x/%20/y'])(
    '[D-PATH-14] answers 400 to %s, whose segment some servers cut down to nothing',
    async (target) => {
      expect(await statusOf(target)).toBe(400)
    },
  )

  it('[D-PATH-14] keeps the base path of the API', async () => {
    for (const [asked, sent] of [
      ['/pub', '/public'],
      ['/pub/', '/public/'],
      ['/pub/pub/x', '/public/pub/x'],
      ['/pub?/public', '/public?/public'],
    ] as const) {
      expect(await statusOf(asked)).toBe(200)
      expect(proxy.upstream.requests.at(-1)?.target).toBe(sent)
    }
  })

  it.each([
    '/api/ADMIN',
    '/api/Admin/x',
    '/api/admin.',
    '/api/admin%20',
    '/api/admin.%20./x',
    '/api/admin%23',
    '/api/admin%23/x',
    '/api/admin%3fx/y',
    // Fullwidth, and a letter whose capital is ours.
    '/api/%EF%BD%81dmin',
    '/api/adm%C4%B1n',
  ])('[D-PATH-07] answers 400 to %s, which a careless API takes for a stricter route', async (target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it('[D-PATH-15] answers 414 to a target over 8 KB', async () => {
    const answer = await proxy.call(`GET /api/${'x'.repeat(8200)}`)
    expect(answer.status).toBe(414)
    expect(answer.json().code).toBe('uri_too_long')
  })

  it('[D-PATH-15] judges thousands of segments, dots and escapes in linear time', async () => {
    const started = process.cpuUsage()
    for (const target of [
      `/api${'/a'.repeat(4000)}`,
      `/api/${'.'.repeat(8000)}x`,
      `/api/admin${'%20.'.repeat(1900)}x`,
      `/api/${'%E2%80%A6'.repeat(880)}`,
      `/api/${'%25'.repeat(2600)}`,
    ]) {
      await proxy.call(`GET ${target}`)
    }
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000)
  })

  it('[D-PATH-16] answers 400 to bytes outside ASCII', async () => {
    for (const byte of ['\xef\xbc\x8f', '\xe9', '\x80']) expect(await statusOf(`/api/${byte}`)).toBe(400)
    expect(await statusOf('/api/x?q=\xe9')).toBe(400)
  })

  it.each([
    ['U+FF0F', '/api/%EF%BC%8Fadmin'],
    ['U+2215', '/api/x%E2%88%95admin'],
    ['U+2044', '/api/x%E2%81%84admin'],
    ['U+FF3C', '/api/x%EF%BC%BCadmin'],
    ['U+2025 two dots', '/api/%E2%80%A5/admin'],
    ['U+FF0E twice', '/api/%EF%BC%8E%EF%BC%8E/admin'],
    ['U+FF05', '/api/%EF%BC%852e'],
    ['U+FF1B', '/api/x%EF%BC%9By'],
    ['U+2100 (a/c)', '/api/%E2%84%80'],
  ])('[D-PATH-16] answers 400 to %s, which normalisation makes a part of the path', async (_name, target) => {
    expect(await statusOf(target)).toBe(400)
  })

  it('[D-PATH-16] passes letters of all scripts', async () => {
    expect(await statusOf('/api/%E6%9D%B1%E4%BA%AC/%D0%9C%D0%B8%D1%80%E2%80%A6%20%F0%9F%98%80')).toBe(200)
  })
})
