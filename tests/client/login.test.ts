import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { json } from './scripted-agent.ts'
import { failureOf, useTestBed } from './test-page.ts'

const bed = useTestBed()
const KEY = 'token-handler:return-to'

async function failureText(page: Page): Promise<{ message: string | null; code: string | null }> {
  await page.locator('[data-token-handler="failure"]').waitFor()
  return {
    message: await page.locator('[data-token-handler="message"]').textContent(),
    code: await page.locator('[data-token-handler="code"]').textContent(),
  }
}

/** Goes to the callback page as the authorization server's redirect does, after a login was started. */
async function comeBack(page: Page, query: string): Promise<void> {
  await page.evaluate(() =>
    fetch('/oauth-agent/login/start', { method: 'POST', headers: { 'token-handler-version': '1' } }),
  )
  await page.goto(`${bed.server.origin}/callback${query}`)
}

describe('login', () => {
  it('goes through the authorization server and comes back to where it began', async () => {
    const page = await bed.open('/orders?page=2#third')
    await page.evaluate(() => void window.client.login())
    await page.waitForURL(`${bed.server.origin}/orders?page=2#third`)
    await page.waitForFunction(() => 'client' in window)
    expect(await page.evaluate(() => window.client.session())).toMatchObject({
      isLoggedIn: true,
      idTokenClaims: { sub: 'demo' },
      accessTokenExpiresIn: expect.closeTo(300, -1),
      accessTokenLifetime: 300,
      sessionExpiresIn: expect.closeTo(43_200, -1),
      idleExpiresIn: expect.closeTo(3600, -1),
    })
    expect(await page.evaluate((key) => sessionStorage.getItem(key), KEY)).toBeNull()
  })

  it('sends extra parameters form-urlencoded, each as one field', async () => {
    const page = await bed.open()
    await failureOf(page, () =>
      window.client.login({
        authorizationParameters: { scope: 'openid orders', login_hint: 'a&redirect_uri=https://evil.example' },
      }),
    )
    const [sent] = bed.server.receivedAt('POST /oauth-agent/login/start')
    expect(sent?.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
    expect([...new URLSearchParams(sent?.body.toString())]).toEqual([
      ['scope', 'openid orders'],
      ['login_hint', 'a&redirect_uri=https://evil.example'],
    ])
  })

  it.each(['javascript:alert(1)', 'http://as.example.com/', '//', 7])(
    'does not open %p as authorization URL',
    async (url) => {
      const page = await bed.open('/here')
      bed.server.script('POST /oauth-agent/login/start', () => json(200, { authorization_url: url }))
      expect(await failureOf(page, () => window.client.login())).toMatchObject({ code: 'unsafe_url' })
      expect(page.url()).toBe(`${bed.server.origin}/here`)
    },
  )

  it.each(['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', '/.//evil.example'])(
    '[D-OR-03] [F-AJ-5] does not remember %s as the path to return to',
    async (returnTo) => {
      const page = await bed.open('/here')
      bed.server.script('POST /oauth-agent/login/start', () => json(200, { authorization_url: 'about:blank' }))
      await page.evaluate((path) => window.client.login({ returnTo: path }).catch(() => undefined), returnTo)
      expect(await page.evaluate((key) => sessionStorage.getItem(key), KEY)).toBeNull()
    },
  )

  it.each([
    '//evil.example',
    '/\\evil.example',
    'https://evil.example',
    'javascript:alert(1)',
    '/.//evil.example',
    '/callback',
    '',
  ])('[D-OR-03] [F-NA-12] goes to the default path when the remembered one has become %j', async (altered) => {
    const page = await bed.open('/here')
    await page.evaluate(([key, value]) => sessionStorage.setItem(key, value), [KEY, altered] as const)
    await comeBack(page, '?code=c&state=s')
    await page.waitForURL(`${bed.server.origin}/`)
    expect(page.url()).toBe(`${bed.server.origin}/`)
  })

  it('[D-OR-06] [F-NA-5] parameters in the path to return to are none of the authorization request', async () => {
    const page = await bed.open()
    await page.evaluate(() => window.client.login({ returnTo: '/x?client_id=evil&redirect_uri=https://evil.example' }))
    await page.waitForURL((url) => url.pathname === '/x')
    expect(bed.server.receivedAt('POST /oauth-agent/login/start')[0]?.body.toString()).toBe('')
    expect(bed.server.receivedAt('GET /authorize')[0]?.query).toBe('?state=state-1')
  })
})

describe('callback page', () => {
  it('posts all parameters of its address, also those that it does not know', async () => {
    const page = await bed.open()
    await comeBack(page, '?code=a%2Bb+c&state=s&iss=https%3A%2F%2Fas.example&session_state=x&x=1&x=2')
    await page.waitForURL(`${bed.server.origin}/`)
    const [sent] = bed.server.receivedAt('POST /oauth-agent/login/end')
    expect(sent?.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
    expect([...new URLSearchParams(sent?.body.toString())]).toEqual([
      ['code', 'a+b c'],
      ['state', 's'],
      ['iss', 'https://as.example'],
      ['session_state', 'x'],
      ['x', '1'],
      ['x', '2'],
    ])
  })

  it('handles a response in a JWT (JARM)', async () => {
    const page = await bed.open()
    await comeBack(page, '?response=eyJhbGciOiJFUzI1NiJ9.e30.c2ln')
    await page.waitForURL(`${bed.server.origin}/`)
    expect(bed.server.receivedAt('POST /oauth-agent/login/end')[0]?.body.toString()).toBe(
      'response=eyJhbGciOiJFUzI1NiJ9.e30.c2ln',
    )
  })

  it('[D-SEC-04] removes the query from the address before the answer, and no history entry or request has it', async () => {
    const page = await bed.open()
    const held = bed.server.hold('POST /oauth-agent/login/end')
    await comeBack(page, '?code=c&state=s#f')
    await held.arrived(1)
    expect(page.url()).toBe(`${bed.server.origin}/callback`)
    held.release()
    await page.waitForURL(`${bed.server.origin}/`)
    await page.goBack()
    expect(page.url()).not.toContain('code=')
    for (const { headers } of bed.server.received) expect(String(headers['referer'])).not.toContain('code=')
  })

  it.each([
    ['400', () => json(400, { error_code: 'unknown_state', detailed_error: 'too late' }), 'unknown_state'],
    ['502', () => json(502, { error_code: 'authorization_server_error' }), 'authorization_server_error'],
    ['no JSON', () => ({ status: 500, body: '<h1>oops</h1>' }), 'invalid_answer'],
    ['a redirect', () => ({ status: 302, headers: { location: '/' } }), 'network_error'],
  ])('removes the query also when the login ends with %s, and shows the code', async (_name, answer, code) => {
    const page = await bed.open()
    bed.server.script('POST /oauth-agent/login/end', answer)
    await comeBack(page, '?code=c&state=s')
    expect(await failureText(page)).toMatchObject({ code, message: expect.stringMatching(/\w/) })
    expect(page.url()).toBe(`${bed.server.origin}/callback`)
    expect(await page.locator('[data-token-handler="progress"]').isHidden()).toBe(true)
  })

  it('shows a declined login, and starts again from there, to the same path', async () => {
    const page = await bed.open()
    await page.evaluate((key) => sessionStorage.setItem(key, '/orders'), KEY)
    await comeBack(page, '?error=access_denied&error_description=%3Cimg+src%3Dx%3E&state=s')
    expect(await failureText(page)).toEqual({ code: 'access_denied', message: 'The login was declined.' })
    const link = page.locator('[data-token-handler="start-again"]')
    expect(await link.getAttribute('href')).toBe('/orders')
    await link.click()
    await page.waitForURL(`${bed.server.origin}/orders`)
  })

  it('goes to the app when there is nothing to handle', async () => {
    const page = await bed.open()
    await page.goto(`${bed.server.origin}/callback`)
    await page.waitForURL(`${bed.server.origin}/`)
    expect(bed.server.receivedAt('POST /oauth-agent/login/end')).toHaveLength(0)
  })

  it('completes the login though it is reloaded meanwhile, and goes to where the login began', async () => {
    const page = await bed.open('/orders?page=2#last')
    const held = bed.server.hold('POST /oauth-agent/login/end')
    await page.evaluate(() => void window.client.login())
    await held.arrived(1)
    await page.reload()
    await page.waitForURL(`${bed.server.origin}/orders?page=2#last`)
    await page.waitForFunction(() => 'client' in window)
    held.release()
    await until('the cookies of the login', async () => {
      const { isLoggedIn } = await page.evaluate(() => window.client.session())
      return isLoggedIn
    })
    expect(bed.server.receivedAt('POST /oauth-agent/login/end')).toHaveLength(1)
  })

  it('leaves no entry of itself in the history', async () => {
    const page = await bed.open('/before')
    await page.evaluate(() => window.client.login({ returnTo: '/after' }))
    await page.waitForURL(`${bed.server.origin}/after`)
    await page.goBack()
    expect(page.url()).toBe(`${bed.server.origin}/before`)
  })

  it('works where storage is blocked', async () => {
    await bed.context.addInitScript(() => {
      Object.defineProperty(window, 'sessionStorage', {
        get: () => {
          throw new DOMException('blocked', 'SecurityError')
        },
      })
    })
    const page = await bed.open('/here')
    await page.evaluate(() => void window.client.login())
    await page.waitForURL(`${bed.server.origin}/`)
    expect(bed.server.receivedAt('POST /oauth-agent/login/end')).toHaveLength(1)
  })
})

describe('handleCallback', () => {
  it('posts also what is too large for a request that may outlive its page', async () => {
    const page = await bed.open('/here')
    const response = 'x'.repeat(70_000)
    await page.evaluate(async (value) => {
      await fetch('/oauth-agent/login/start', { method: 'POST', headers: { 'token-handler-version': '1' } })
      history.replaceState(null, '', `?response=${value}`)
      await window.client.handleCallback({ navigate: false })
    }, response)
    const [sent] = bed.server.receivedAt('POST /oauth-agent/login/end')
    expect(sent?.body.toString()).toBe(`response=${response}`)
  })

  it('posts once when it is called twice, as React does in development, and goes to the remembered path', async () => {
    const page = await bed.open('/here')
    await page.evaluate((key) => sessionStorage.setItem(key, '/after'), KEY)
    await page.evaluate(() =>
      fetch('/oauth-agent/login/start', { method: 'POST', headers: { 'token-handler-version': '1' } }),
    )
    await page.evaluate(() => {
      history.replaceState(null, '', '?code=c&state=s')
      void window.client.handleCallback()
      void window.client.handleCallback()
    })
    await page.waitForURL(`${bed.server.origin}/after`)
    expect(bed.server.receivedAt('POST /oauth-agent/login/end')).toHaveLength(1)
  })

  it.each(['?page=2', '?code=promotion', '?error=7', '?state=of-a-logout'])(
    '[B-LO-06] answers the session when there is nothing to handle: %s',
    async (query) => {
      const page = await bed.open(`/here${query}`)
      expect(await page.evaluate(() => window.client.handleCallback())).toMatchObject({ isLoggedIn: false })
      expect(page.url()).toBe(`${bed.server.origin}/here${query}`)
      expect(bed.server.receivedAt('POST /oauth-agent/login/end')).toHaveLength(0)
    },
  )

  it('stays on the page when told so', async () => {
    const page = await bed.open('/here')
    await page.evaluate(() =>
      fetch('/oauth-agent/login/start', { method: 'POST', headers: { 'token-handler-version': '1' } }),
    )
    const session = await page.evaluate(() => {
      history.replaceState(null, '', '?code=c&state=s')
      return window.client.handleCallback({ navigate: false })
    })
    expect(session).toMatchObject({ isLoggedIn: true })
    expect(page.url()).toBe(`${bed.server.origin}/here`)
    expect(await page.evaluate(() => window.changes.map(({ reason }) => reason))).toEqual(['login'])
  })

  it('takes the answer of login end when the agent cannot be asked again just then', async () => {
    const page = await bed.open()
    bed.server.script('GET /oauth-agent/session', () => json(503, { error_code: 'store_unavailable' }))
    await comeBack(page, '?code=c&state=s')
    await page.waitForURL(`${bed.server.origin}/`)
    await page.waitForFunction(() => 'client' in window)
    expect(await page.evaluate(async () => (await window.client.fetch('/api/orders')).status)).toBe(200)
  })
})

describe('cookies that the browser did not keep', () => {
  const logInWith = (agentUrl: string): Promise<Record<string, unknown> | undefined> =>
    bed.open().then((page) =>
      page
        .evaluate((url) => {
          history.replaceState(null, '', '/callback?code=c&state=s')
          window.client = window.library.createTokenHandlerClient({ agentUrl: url })
        }, agentUrl)
        .then(() => failureOf(page, () => window.client.handleCallback())),
    )

  it('are reported by the callback page, with a sentence for the user', async () => {
    bed.server.agent.withholdCookies = true
    const page = await bed.open()
    await comeBack(page, '?code=c&state=s')
    expect(await failureText(page)).toEqual({
      code: 'cookies_not_stored',
      message: 'This browser keeps no secure cookies over http. Use https, or another browser.',
    })
  })

  it.each([
    ['the page’s own host over http on loopback', 'insecure_loopback', () => '/oauth-agent'],
    ['an agent on another site', 'cross_site_agent', (port: number) => `http://127.0.0.1:${port}/oauth-agent`],
  ])('likely because of %s: %s', async (_name, reason, agentUrl) => {
    bed.server.corsOrigins.push(bed.server.origin)
    bed.server.script('POST /oauth-agent/login/end', () => json(200, { is_logged_in: true }))
    bed.server.script('GET /oauth-agent/session', () => json(200, { is_logged_in: false }))
    expect(await logInWith(agentUrl(bed.server.port))).toMatchObject({ code: 'cookies_not_stored', reason })
  })

  it('likely because the page is not encrypted: insecure_origin', async () => {
    const page = await bed.context.newPage()
    bed.server.script('POST /oauth-agent/login/end', () => json(200, { is_logged_in: true }))
    await page.route('http://app.example.com/**', async (route) => {
      const response = await route.fetch({
        url: route.request().url().replace('http://app.example.com', bed.server.origin),
      })
      await route.fulfill({ response })
    })
    await page.goto('http://app.example.com/')
    await page.waitForFunction(() => 'client' in window)
    await page.evaluate(() => history.replaceState(null, '', '/callback?code=c&state=s'))
    expect(await failureOf(page, () => window.client.handleCallback())).toMatchObject({ reason: 'insecure_origin' })
  })

  it('likely because cookies are switched off: cookies_blocked', async () => {
    await bed.context.addInitScript(() => {
      Object.defineProperty(navigator, 'cookieEnabled', { value: false })
      // As Firefox does then.
      window.BroadcastChannel = function () {
        throw new DOMException('The operation is insecure.', 'SecurityError')
      } as unknown as typeof BroadcastChannel
    })
    bed.server.agent.withholdCookies = true
    const page = await bed.open()
    await comeBack(page, '?code=c&state=s')
    expect(await failureText(page)).toMatchObject({ message: expect.stringContaining('switched off') })
  })
})

describe('logout', () => {
  it('goes to the authorization server when there is a URL for it', async () => {
    const page = await bed.logIn()
    const end = `http://127.0.0.1:${bed.server.port}/end-session?client_id=x&state=s`
    bed.server.script('POST /oauth-agent/logout', () => json(200, { logout_url: end }))
    await page.evaluate(() => void window.client.logout())
    await page.waitForURL(end)
    expect(bed.server.receivedAt('GET /end-session')[0]?.query).toBe('?client_id=x&state=s')
  })

  it('goes to the configured path when there is none', async () => {
    const page = await bed.logIn()
    await page.evaluate(() => {
      window.client = window.library.createTokenHandlerClient({ postLogoutPath: '/goodbye' })
      return void window.client.logout()
    })
    await page.waitForURL(`${bed.server.origin}/goodbye`)
    expect(await page.evaluate(async () => (await fetch('/api/x')).status)).toBe(401)
  })

  it('leaves the session at the authorization server alone when told so', async () => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/logout', () => json(200, { logout_url: 'https://as.example.com/end' }))
    await page.evaluate(() => {
      window.client = window.library.createTokenHandlerClient({ postLogoutPath: '/goodbye' })
      return void window.client.logout({ authorizationServer: false })
    })
    await page.waitForURL(`${bed.server.origin}/goodbye`)
    expect(bed.server.receivedAt('GET /goodbye')).toHaveLength(1)
  })

  it('stays on the page when told so, and answers the URL', async () => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/logout', () => json(200, { logout_url: 'https://as.example.com/end' }))
    const url = await page.evaluate(() => window.client.logout({ navigate: false }))
    expect(url).toBe('https://as.example.com/end')
    expect(await page.evaluate(() => window.changes.at(-1)?.reason)).toBe('logout')
  })

  it('[D-OR-04] does not open an unsafe URL, but is logged out', async () => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/logout', () => json(200, { logout_url: 'javascript:alert(1)' }))
    expect(await failureOf(page, () => window.client.logout())).toMatchObject({ code: 'unsafe_url' })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(false)
  })

  it.each(['//evil.example', 'https://evil.example', '/\\evil.example'])(
    '[D-OR-04] [F-MO-1] goes to / instead of %s',
    async (path) => {
      const page = await bed.logIn()
      await page.evaluate((postLogoutPath) => {
        history.pushState(null, '', '/here')
        window.client = window.library.createTokenHandlerClient({ postLogoutPath })
        return void window.client.logout()
      }, path)
      await page.waitForURL(`${bed.server.origin}/`)
      expect(bed.server.receivedAt('POST /oauth-agent/logout')).toHaveLength(1)
    },
  )

  it('that fails leaves the session as it is', async () => {
    const page = await bed.logIn()
    bed.server.script('POST /oauth-agent/logout', () => json(503, { error_code: 'shutting_down' }))
    expect(await failureOf(page, () => window.client.logout())).toMatchObject({
      name: 'TemporaryError',
      code: 'shutting_down',
    })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })
})
