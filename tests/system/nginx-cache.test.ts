import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { startProxy, type ProxyUnderTest } from '../oauth-proxy/proxy-under-test.ts'
import { freePort } from '../support/free-port.ts'
import { configurationWith, startNginx, type RunningNginx } from '../support/nginx.ts'
import { exchange, type RawAnswer } from '../support/raw-client.ts'
import { answerText } from '../support/upstream.ts'

/** Everything that an API can say to caches, and what only nginx heeds. */
const storeMe = [
  'Cache-Control: public, max-age=3600, s-maxage=3600',
  'Expires: Tue, 01 Jan 2040 00:00:00 GMT',
  'X-Accel-Expires: 3600',
  'Surrogate-Control: max-age=3600',
  'Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT',
  'ETag: "1"',
]

let proxy: ProxyUnderTest
let nginx: RunningNginx
let port: number
beforeEach(async () => {
  proxy = await startProxy({
    routes: [{}, { path: '/public', session: 'none' }],
    script: {
      onRequest: (request) => answerText(`for ${request.values('authorization')[0] ?? 'all'}`, { headers: storeMe }),
    },
  })
  port = await freePort()
  nginx = await startNginx(
    configurationWith({
      port,
      http: 'proxy_cache_path cache keys_zone=all:1m;',
      // Any status for an hour unless the answer says otherwise, and as careless as caches get with what they take for files.
      server: `
        proxy_cache all;
        proxy_cache_valid any 1h;
        proxy_set_header Host $host;
        location / { proxy_pass http://127.0.0.1:${proxy.port}; }
        location ~ \\.(css|js|png)$ { proxy_cache_key $uri; proxy_pass http://127.0.0.1:${proxy.port}; }`,
    }),
    { port },
  )
})
afterEach(async () => {
  await nginx.close()
  await proxy.close()
})

/** The same request by a user, or by somebody without a session. */
function ask(target: string, cookie = ''): Promise<RawAnswer> {
  const request = proxy
    .bytes(`GET ${target}`, ['Connection: close'])
    .replace(`Cookie: ${proxy.session.cookie}`, 'X-A: b')
  return exchange(port, cookie === '' ? request : request.replace('X-A: b', `Cookie: ${cookie}`))
}

describe('an nginx that stores what it may, in front of the OAuth Proxy', () => {
  it.each(['/api/me', '/api/me?x=1', '/api/me/x.css', '/api/me/x.js?y', '/api/.png'])(
    '[D-CA-04] gives the answer for one user to no other: %s',
    async (target) => {
      const other = proxy.kit.session()
      expect((await ask(target, proxy.session.cookie)).body).toBe(`for Bearer ${proxy.session.accessToken}`)
      expect((await ask(target, other.cookie)).body).toBe(`for Bearer ${other.accessToken}`)
      expect((await ask(target)).json().code).toBe('session_missing')
      expect((await ask(target, proxy.session.cookie)).body).toBe(`for Bearer ${proxy.session.accessToken}`)
    },
  )

  it.each(['/api/me;.js', '/api/me%2f..%2fstatic.js', '/api/me/..;/x.css', '/api/me%00.css', '/api/me%0a.js'])(
    '[D-CA-04] gets no answer of the API for a path that only looks like a file: %s',
    async (target) => {
      expect((await ask(target, proxy.session.cookie)).status).toBe(400)
      expect(proxy.upstream.received()).toBe('')
    },
  )

  it('[D-CA-04] keeps no refusal for who logs in next', async () => {
    expect((await ask('/api/me')).status).toBe(401)
    expect((await ask('/api/me', proxy.session.cookie)).status).toBe(200)
  })

  it('control: stores what is for all', async () => {
    for (const cookie of ['', proxy.session.cookie]) expect((await ask('/public/x', cookie)).body).toBe('for all')
    expect(proxy.upstream.requests).toHaveLength(1)
  })
})
