import { afterEach, describe, expect, it } from '@jest/globals'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'

describe('a route that asks for a role', () => {
  let demo: TestDemo
  afterEach(() => demo.close())

  it.each([
    ['who has it', 'demo', 200],
    ['who lacks it', 'somebody-else', 403],
  ])('is for those %s', async (_who, subject, status) => {
    demo = await startTestDemo({
      configure: (config) => ({
        ...config,
        roles: [{ name: 'clerk', claim: 'sub', values: [subject] }],
        proxy: {
          ...config.proxy,
          routes: config.proxy?.routes?.map((route) =>
            route.path === '/api/orders' ? { ...route, roles: ['clerk'] } : route,
          ),
        },
      }),
    })
    const browser = new SessionBrowser(demo.url)
    expect((await browser.logIn()).status).toBe(200)
    expect((await browser.call('GET', '/api/orders')).status).toBe(status)
    expect((await browser.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await browser.call('GET', '/api/orders')).status).toBe(status)
    expect((await browser.call('GET', '/api/me')).status).toBe(200)
  })
})
