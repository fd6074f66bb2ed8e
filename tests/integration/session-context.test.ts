import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { callWith } from './call.ts'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0'
let demo: TestDemo
beforeAll(async () => {
  demo = await startTestDemo({
    configure: (config) => ({
      ...config,
      context: { network: 'deny', client: 'deny' },
      proxy: { ...config.proxy, trusted_proxies: ['127.0.0.1', '::1'] },
    }),
  })
})
afterAll(() => demo.close())

describe('a session that is bound to where its login came from', () => {
  it.each([
    ['network', { 'x-forwarded-for': '198.51.100.7' }],
    ['kind of browser', { 'user-agent': firefox }],
  ])('is refused by agent and proxy alike from another %s', async (_what, elsewhere) => {
    const browser = new SessionBrowser(demo.url)
    expect((await browser.logIn()).status).toBe(200)
    const call = (path: string, method: string, headers: Record<string, string> = {}) =>
      callWith(browser.jar.header(demo.url + path), demo.url + path, { method, headers })
    expect(await call('/api/orders', 'GET')).toMatchObject({ status: 200 })
    const calls = demo.api.received.length
    for (const [path, method] of [
      ['/api/orders', 'GET'],
      ['/oauth-agent/refresh', 'POST'],
    ] as const) {
      const answer = await call(path, method, elsewhere)
      expect([path, answer.status, answer.code]).toEqual([path, 401, 'context_changed'])
    }
    expect((await call('/oauth-agent/session', 'GET', elsewhere)).json).toEqual({ is_logged_in: false })
    expect(demo.api.received.length).toBe(calls)
    expect((await call('/oauth-agent/refresh', 'POST')).status).toBe(200)
  })
})
