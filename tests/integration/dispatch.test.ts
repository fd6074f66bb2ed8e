import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'

let demo: TestDemo
let rootDemo: TestDemo

beforeAll(async () => {
  demo = await startTestDemo()
  rootDemo = await startTestDemo({
    configure: (config) => ({ ...config, cookies: { access_token_path: '/' } }),
  })
})

afterAll(async () => {
  await demo.close()
  await rootDemo.close()
})

function get(target: string, method = 'GET', { url } = demo): Promise<RawAnswer> {
  const { host, port } = new URL(url)
  const headers = [`Host: ${host}`, 'token-handler-version: 1', 'Sec-Fetch-Site: same-origin']
  return exchange(Number(port), rawRequest(`${method} ${target}`, headers), { method })
}

async function page(target: string): Promise<string> {
  const answer = await get(target)
  expect([target, answer.status, answer.values('content-type')]).toEqual([target, 200, ['text/html; charset=utf-8']])
  return answer.body
}

async function refusal(target: string, method?: string): Promise<unknown[]> {
  const answer = await get(target, method)
  expect(answer.values('content-type')).toEqual(['application/json'])
  const { code, error_code } = answer.json() as { code?: string; error_code?: string }
  return [answer.status, code === undefined ? 'agent' : 'proxy', code ?? error_code]
}

/** The app is public; everything else but a refusal would be something private. */
function outcomeOf(answer: RawAnswer): string {
  const { status, body } = answer
  if (status === 200 && body.includes('<div id="app">')) return 'app'
  const isRefusal = [400, 401, 404].includes(status) && answer.values('content-type').join() === 'application/json'
  return isRefusal ? 'refused' : `${status} ${body}`
}

describe('one listener for SPA, agent and proxy', () => {
  it.each(['/', '/orders', '/some/where/else', '/index.html', '/apis', '/api2/x', '/oauth-agents', '/?code=x&state=y'])(
    'serves the app at %s',
    async (target) => {
      expect(await page(target)).toContain('<div id="app">')
    },
  )

  it.each(['/callback', '/callback?code=x&state=y', '/callback.html'])(
    'serves the callback page at %s',
    async (target) => {
      expect(await page(target)).toContain('data-token-handler="progress"')
    },
  )

  it.each([
    ['/api', 'proxy', 'not_found'],
    ['/api/', 'proxy', 'not_found'],
    ['/api/unknown', 'proxy', 'not_found'],
    ['/api/unknown.html', 'proxy', 'not_found'],
    ['/oauth-agent', 'agent', 'not_found'],
    ['/oauth-agent/', 'agent', 'not_found'],
    ['/oauth-agent/x', 'agent', 'not_found'],
    ['/oauth-agent/session/', 'agent', 'not_found'],
  ])('answers 404 as JSON at %s, never the app', async (target, part, code) => {
    expect(await refusal(target)).toEqual([404, part, code])
  })
  it.each([
    '/%61pi/me',
    '/api%2fme',
    '/api/%6de',
    '//api/me',
    '/./api/me',
    '/x/../api/me',
    '/api/../api/me',
    '/api;x/me',
    '/api/me/',
    '/API/me',
    '/oauth-agent/../api/me',
    '/oauth-agent/..%2fapi/me',
    '/callback/../api/me',
    '\\api\\me',
    'http://evil.example/api/me',
  ])('lets nobody reach the API without a session by writing its path as %s', async (target) => {
    const before = demo.api.received.length
    const answer = await get(target)
    expect(['app', 'refused']).toContain(outcomeOf(answer))
    expect(demo.api.received.length).toBe(before)
  })

  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])('answers %s of a page as JSON, never with the page', async (method) => {
    for (const target of ['/', '/orders', '/callback']) {
      const answer = await get(target, method)
      expect([404, 405]).toContain(answer.status)
      expect(answer.values('content-type')).toEqual(['application/json'])
    }
  })

  it.each(['kube-probe/1.33', 'GoogleHC/1.0', 'ELB-HealthChecker/2.0', 'Prometheus/3.5', 'UptimeRobot/2.0'])(
    '[D-OPS-01] opens nothing to a probe: %s',
    async (agent) => {
      const before = demo.api.received.length
      const { host, port } = new URL(demo.url)
      for (const path of ['', '/livez', '/readyz', '/metrics', '/healthz', '/livez/..', '/readyz/..%2f', '/healthz;']) {
        const headers = [`Host: ${host}`, `User-Agent: ${agent}`, 'Sec-Fetch-Site: same-origin']
        for (const target of path === '' ? ['/api/me'] : [path, `${path}/api/me`, `/api/me${path}`]) {
          const answer = await exchange(Number(port), rawRequest(`GET ${target}`, headers))
          expect([target, outcomeOf(answer)]).toEqual([target, expect.stringMatching(/^(?:app|refused)$/)])
        }
      }
      expect(demo.api.received.length).toBe(before)
    },
  )

  it('[D-OPS-01] tells probes of the admin listener no secret, and opens nothing else to them', async () => {
    const port = Number(new URL(demo.adminUrl).port)
    const secrets = demo.secrets()
    for (const target of ['/livez', '/readyz', '/metrics']) {
      const answer = await exchange(port, rawRequest(`GET ${target}`, ['Host: a', 'User-Agent: kube-probe/1.33']))
      expect([target, answer.status, secrets.find(answer.raw)]).toEqual([target, 200, []])
    }
    for (const target of [
      '/livez/../admin/sessions',
      '/admin/sessions',
      '/livez/admin/sessions',
      '/livez;/admin/rules',
    ]) {
      const answer = await exchange(port, rawRequest(`GET ${target}`, ['Host: a', 'User-Agent: kube-probe/1.33']))
      expect([target, [401, 404]]).toEqual([target, expect.arrayContaining([answer.status])])
    }
  })

  it('answers HEAD like GET, without the body', async () => {
    for (const target of ['/', '/orders', '/callback']) {
      const [head, whole] = [await get(target, 'HEAD'), await get(target)]
      expect([head.status, head.body]).toEqual([200, ''])
      expect(head.values('content-security-policy')).toEqual(whole.values('content-security-policy'))
    }
  })

  it('keeps files that are not there apart from the app', async () => {
    const answer = await get('/assets/nope.js')
    expect([answer.status, answer.json().code]).toEqual([404, 'not_found'])
  })
})

describe('one listener whose access cookie is at /', () => {
  it('serves the app and its callback page wherever no route is', async () => {
    for (const target of ['/', '/?x=1', '/orders', '/api', '/api/unknown', '/callback?code=x&state=y']) {
      const answer = await get(target, 'GET', rootDemo)
      expect([target, answer.status, answer.values('content-type')]).toEqual([
        target,
        200,
        ['text/html; charset=utf-8'],
      ])
    }
  })

  it.each(['/api/me', '/api/me?x=1', '/api/orders/1', '/api/%6de', '/API/me', '//api/me', '/api/../api/me'])(
    'lets nobody reach the API at %s without a session',
    async (target) => {
      expect(['app', 'refused']).toContain(outcomeOf(await get(target, 'GET', rootDemo)))
      expect(rootDemo.api.received).toHaveLength(0)
    },
  )

  it('leaves the routes to the proxy, and the agent its path', async () => {
    const api = await get('/api/me', 'GET', rootDemo)
    expect([api.status, api.json().code]).toEqual([401, 'session_missing'])
    const agent = await get('/oauth-agent/session', 'GET', rootDemo)
    expect([agent.status, agent.json()]).toEqual([200, { is_logged_in: false }])
  })
})
