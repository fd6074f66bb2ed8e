import { afterEach, describe, expect, it } from '@jest/globals'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

const spaOrigin = 'https://spa.example.com'
const crossOrigin = { trustedOrigins: new Set([spaOrigin]) }

describe('CORS', () => {
  let proxy: ProxyUnderTest
  const start = async (setup: ProxySetup = {}): Promise<ProxyUnderTest> =>
    (proxy = await startProxy({ ...setup, options: { ...crossOrigin, ...setup.options } }))
  afterEach(() => proxy.close())

  function send(requestLine: string, headers: readonly string[], origin = spaOrigin): Promise<RawAnswer> {
    return exchange(
      proxy.port,
      rawRequest(requestLine, ['Host: api.example.com', `Origin: ${origin}`, 'Sec-Fetch-Site: same-site', ...headers]),
    )
  }

  function expectReadable(answer: RawAnswer): void {
    expect(answer.values('access-control-allow-origin')).toEqual([spaOrigin])
    expect(answer.values('access-control-allow-credentials')).toEqual(['true'])
    expect(answer.values('access-control-expose-headers')).toEqual(['Retry-After, WWW-Authenticate'])
    expect(answer.values('vary')).toHaveLength(1)
    expect(answer.values('vary')[0]).toContain('Origin')
  }

  const preflight = [
    'Access-Control-Request-Method: PUT',
    'Access-Control-Request-Headers: token-handler-version, x-own',
  ]

  it('[D-CS-07] answers a preflight itself, without cookies, and the API sees nothing', async () => {
    const { upstream } = await start()
    const answer = await send('OPTIONS /api/x', preflight)
    expect(answer.status).toBe(204)
    expectReadable(answer)
    expect(answer.values('access-control-allow-methods')).toEqual(['GET, HEAD, POST, PUT, PATCH, DELETE'])
    expect(answer.values('access-control-allow-headers')).toEqual(['token-handler-version, x-own'])
    expect(answer.values('access-control-max-age')).toEqual(['600'])
    expect(upstream.received()).toBe('')
  })

  it('[D-CS-07] answers a preflight itself even where OPTIONS is forwarded', async () => {
    const { upstream } = await start({ routes: [{ methods: ['GET', 'OPTIONS'] }] })
    expect((await send('OPTIONS /api/x', preflight)).status).toBe(204)
    expect(upstream.received()).toBe('')
  })

  it('[D-CS-07] scrubs identity headers and Authorization from an OPTIONS that is forwarded', async () => {
    const { upstream, session } = await start({ routes: [{ methods: ['OPTIONS'] }] })
    await send('OPTIONS /api/x', [
      `Cookie: ${session.cookie}`,
      'token-handler-version: 1',
      'Authorization: Basic eDp5',
      'X-User: admin',
    ])
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${session.accessToken}`])
    expect(upstream.requests[0]?.values('x-user')).toEqual([])
  })

  it.each([
    ['/nowhere', 404, 'not_found'],
    ['/api//x', 400, 'invalid_request'],
    [`/api/${'x'.repeat(9000)}`, 414, 'uri_too_long'],
  ])(
    '[D-CS-07] answers a preflight for a path that is no route’s, so that the refusal can be read: %.12s',
    async (path, status, code) => {
      const { upstream } = await start()
      const allowed = await send(`OPTIONS ${path}`, preflight)
      expect(allowed.status).toBe(204)
      expectReadable(allowed)
      expect(allowed.values('access-control-allow-methods')).toEqual(['GET, HEAD, POST, PUT, PATCH, DELETE'])
      expect(allowed.values('access-control-allow-headers')).toEqual(['token-handler-version, x-own'])
      const refused = await send(`PUT ${path}`, ['token-handler-version: 1', 'Content-Length: 0'])
      expect(refused.status).toBe(status)
      expect(refused.json().code).toBe(code)
      expectReadable(refused)
      const foreign = await send(`OPTIONS ${path}`, preflight, 'https://evil.example')
      expect(foreign.status).toBe(status)
      expect(foreign.headers.filter(([name]) => name.startsWith('access-control'))).toEqual([])
      expect(upstream.received()).toBe('')
    },
  )

  it('[D-CS-07] answers 403 to a preflight from a foreign origin, which learns nothing', async () => {
    await start()
    const answer = await send('OPTIONS /api/x', preflight, 'https://evil.example')
    expect(answer.status).toBe(403)
    expect(answer.json().code).toBe('untrusted_origin')
    expect(answer.headers.filter(([name]) => name.startsWith('access-control'))).toEqual([])
  })

  it('[D-CS-06] lets no CORS header of the API through', async () => {
    const { session } = await start({
      script: {
        onRequest: () =>
          answerText('{}', {
            headers: [
              'Access-Control-Allow-Origin: *',
              'Access-Control-Allow-Origin: https://evil.example',
              'Access-Control-Expose-Headers: x-secret',
              'Access-Control-Allow-Private-Network: true',
              'Timing-Allow-Origin: *',
              'Vary: Accept, Accept-Language',
            ],
          }),
      },
    })
    const answer = await send('GET /api/x', [`Cookie: ${session.cookie}`])
    expect(answer.status).toBe(200)
    expectReadable(answer)
    expect(answer.values('vary')).toEqual(['Origin, Accept, Accept-Language'])
    expect(answer.raw).not.toMatch(/private-network|timing-allow-origin|evil\.example/i)
  })

  it.each([
    [400, 'GET /api/../x', []],
    [401, 'GET /api/x', []],
    [403, 'POST /api/x', []],
    [404, 'GET /other', []],
    [405, 'OPTIONS /api/x', []],
    [413, 'POST /api/x', ['token-handler-version: 1', 'Content-Length: 1000']],
    [414, `GET /${'x'.repeat(9000)}`, []],
    [417, 'GET /api/x', ['Expect: cream']],
    [426, 'GET /api/x', ['Upgrade: h2c']],
  ])('[D-CS-08] puts the headers on a %d, so that the SPA can read why', async (status, requestLine, headers) => {
    await start({ routes: [{ maxBodyBytes: 100 }] })
    const answer = await send(requestLine, headers)
    expect(answer.status).toBe(status)
    expectReadable(answer)
  })

  it('[D-CS-08] puts the headers on errors of the API', async () => {
    const { session } = await start({ script: { onRequest: () => 'not HTTP\r\n\r\n' } })
    const answer = await send('GET /api/x', [`Cookie: ${session.cookie}`])
    expect(answer.status).toBe(502)
    expectReadable(answer)
  })

  it('[D-CS-08] gives a foreign origin no header on an error', async () => {
    await start()
    const answer = await send('GET /api/x', [], 'https://evil.example')
    expect(answer.status).toBe(403)
    expect(answer.headers.filter(([name]) => name.startsWith('access-control'))).toEqual([])
  })

  it('[D-CS-09] never sends Access-Control-Allow-Private-Network', async () => {
    await start()
    const answer = await send('OPTIONS /api/x', [...preflight, 'Access-Control-Request-Private-Network: true'])
    expect(answer.raw.toLowerCase()).not.toContain('private-network')
  })
})
