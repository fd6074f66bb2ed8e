import { afterEach, describe, expect, it } from '@jest/globals'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { publicOrigin, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

const spaOrigin = 'https://spa.example.com'

describe('guards of the OAuth Proxy', () => {
  let proxy: ProxyUnderTest
  const start = async (setup?: ProxySetup): Promise<ProxyUnderTest> => (proxy = await startProxy(setup))
  afterEach(() => proxy.close())

  /** A call with a live session and exactly these headers. */
  function send(requestLine: string, headers: readonly string[], body = ''): Promise<RawAnswer> {
    const usual = ['Host: www.example.com', `Cookie: ${proxy.session.cookie}`]
    return exchange(proxy.port, rawRequest(requestLine, [...usual, ...headers], body))
  }

  async function expectRefused(answer: RawAnswer, code: string): Promise<void> {
    expect(answer.status).toBe(403)
    expect(answer.json().code).toBe(code)
    expect(proxy.upstream.received()).toBe('')
  }

  it.each([
    'https://evil.example',
    'null',
    '',
    'http://www.example.com',
    'https://www.example.com:8443',
    'https://www.example.com.evil.example',
    'https://WWW.example.com',
    'https://www.example.com/',
    `${publicOrigin}, ${publicOrigin}`,
    `${publicOrigin} https://evil.example`,
  ])('[D-CS-03] answer 403 untrusted_origin to Origin "%s"', async (origin) => {
    await start()
    const headers = [`Origin: ${origin}`, 'token-handler-version: 1', 'Sec-Fetch-Site: same-origin']
    await expectRefused(await send('POST /api/x', headers), 'untrusted_origin')
  })

  it('[D-CS-03] answer 403 to two Origin headers', async () => {
    await start()
    const headers = [`Origin: ${publicOrigin}`, `Origin: ${publicOrigin}`, 'token-handler-version: 1']
    await expectRefused(await send('POST /api/x', headers), 'untrusted_origin')
  })

  it('[D-CS-02] gain nothing for a client that forges Fetch Metadata', async () => {
    await start()
    const headers = ['Sec-Fetch-Site: same-origin', 'Origin: https://evil.example', 'token-handler-version: 1']
    await expectRefused(await send('GET /api/x', headers), 'untrusted_origin')
  })

  it.each([
    ['JSON as text/plain', 'POST', ['Content-Type: text/plain']],
    ['a form', 'POST', ['Content-Type: application/x-www-form-urlencoded']],
    ['a multipart form', 'POST', ['Content-Type: multipart/form-data; boundary=x']],
    ['no content type', 'POST', []],
    ['a method in a header', 'POST', ['X-HTTP-Method-Override: DELETE']],
    ['DELETE', 'DELETE', []],
    ['PUT', 'PUT', []],
  ])('[D-CS-04] answer 403 missing_header to %s without our header', async (_what, method, headers) => {
    await start()
    const answer = await send(`${method} /api/x`, [
      `Origin: ${publicOrigin}`,
      'Sec-Fetch-Site: same-origin',
      ...headers,
    ])
    await expectRefused(answer, 'missing_header')
  })

  it('[D-CS-04] answer 403 cross_site to a request that the browser marks so, header or not', async () => {
    await start()
    await expectRefused(await send('GET /api/x', ['Sec-Fetch-Site: cross-site']), 'cross_site')
    const answer = await send('GET /api/x', ['Sec-Fetch-Site: cross-site', 'token-handler-version: 1'])
    await expectRefused(answer, 'cross_site')
  })

  it.each([
    ['an address typed in', ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']],
    ['a frame', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: iframe']],
    ['a script', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: script']],
    ['a service worker', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: empty', 'Service-Worker: script']],
    ['a prefetch', ['Sec-Fetch-Site: same-origin', 'Sec-Purpose: prefetch;prerender']],
  ])('[D-CS-04] answer 403 untrusted_destination to %s', async (_what, headers) => {
    await start()
    await expectRefused(await send('GET /api/x', headers), 'untrusted_destination')
  })

  it('serve pages of their own on navigable routes and frames on embeddable ones', async () => {
    await start({ routes: [{ navigable: true, embeddable: true }] })
    const typed = ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']
    const framed = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe']
    expect((await send('GET /api/x', typed)).status).toBe(200)
    expect((await send('GET /api/x', framed)).status).toBe(200)
  })

  it('serve a same-origin GET without Origin, and tools that send our header', async () => {
    await start()
    expect((await send('GET /api/x', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: image'])).status).toBe(200)
    expect((await send('GET /api/x', ['token-handler-version: 1'])).status).toBe(200)
    await expectNoEvidence()
  })

  async function expectNoEvidence(): Promise<void> {
    const answer = await send('GET /api/x', [])
    expect(answer.status).toBe(403)
    expect(answer.json().code).toBe('missing_origin')
  }

  it('hold on routes without session too', async () => {
    await start({ routes: [{ session: 'none' }] })
    await expectRefused(await send('POST /api/x', ['Origin: https://evil.example']), 'untrusted_origin')
  })

  it('do not take same-origin for trusted where the SPA lives on another origin', async () => {
    await start({ options: { trustedOrigins: new Set([spaOrigin]) } })
    await expectRefused(await send('GET /api/x', ['Sec-Fetch-Site: same-origin']), 'missing_origin')
    const answer = await send('GET /api/x', ['Sec-Fetch-Site: same-site', `Origin: ${spaOrigin}`])
    expect(answer.status).toBe(200)
  })
})
