import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import type { BrowserContext, Page } from 'playwright-core'
import type { StoredCookie } from '../support/cookie-jar.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { sibling, stranger, useCrossOriginDemo } from './cross-origin-bed.ts'
import { callApi, logIn, submitCredentials } from './support.ts'

const bed = useCrossOriginDemo()

describe('session fixation', () => {
  it('[D-SE-01] a planted session is replaced by the login, and ends', async () => {
    const attacker = await loggedInAttacker()
    const context = await bed.newContext()
    await plant(context, attacker)
    const victim = await context.newPage()
    await victim.goto(bed.demo.url)
    // The victim sees whose session it is, and logs in.
    await victim.getByTestId('logout').waitFor()
    const [planted] = attacker.jar.get('__Host-Http-th-sid')
    await startLogin(victim)
    await victim.getByTestId('logout').waitFor()
    await callApi(victim)
    expect(await sidOf(context)).not.toBe(planted?.value)
    expect((await attacker.call('GET', '/oauth-agent/session')).json()).toEqual({ is_logged_in: false })
  })

  it.each([
    ['of a sibling', sibling],
    ['of another site', stranger],
  ])('a page %s can plant no session', async (_what, name) => {
    const attacker = await loggedInAttacker()
    const context = await bed.newContext()
    const page = await context.newPage()
    await page.goto(bed.foreign.origin(name))
    const domain = name === sibling ? 'example.localhost' : new URL(bed.demo.backendUrl).hostname
    for (const cookie of attacker.jar.snapshot()) {
      for (const path of ['/', cookie.path]) {
        const line = `${cookie.name}=${cookie.value}; Path=${path}; Domain=${domain}; Secure; SameSite=Strict`
        await page.evaluate((text) => (document.cookie = text), line)
      }
    }
    // Control: what the browser takes from a sibling does arrive, so the rest was refused by the browser or by us.
    await page.evaluate((host) => (document.cookie = `control=1; Domain=${host}; Path=/; Secure`), domain)
    await page.goto(bed.demo.url)
    await page.getByTestId('welcome').waitFor()
    const sent = bed.demo.wire.requests.findLast(({ path }) => path === '/oauth-agent/session')?.headers.cookie ?? ''
    expect(sent.includes('control=1')).toBe(name === sibling)
    expect(sent.includes('__Secure-th-rt-')).toBe(name === sibling)
    expect(sent).not.toContain('__Host-')
    // A login afterwards is the victim's own, whatever was planted.
    await logIn(page)
    await callApi(page)
    expect(await sidOf(context)).not.toBe(attacker.jar.get('__Host-Http-th-sid')[0]?.value)
    expect((await attacker.call('GET', '/oauth-agent/session')).json()).toMatchObject({ is_logged_in: true })
  })

  it('cookies planted under the names of the running session do not end it', async () => {
    const victim = await bed.logIn()
    const context = victim.context()
    const page = await context.newPage()
    await page.goto(bed.foreign.origin(sibling))
    for (const { name, path } of await context.cookies(bed.demo.backendUrl + '/api')) {
      await page.evaluate(
        (text) => (document.cookie = text),
        `${name}=planted; Path=${path}; Domain=example.localhost; Secure`,
      )
    }
    await callApi(victim)
    const cookie = bed.demo.wire.requests.findLast(({ path }) => path === '/api/me')?.headers.cookie
    expect(cookie).toMatch(/__Secure-th-at-[\w-]{8}=planted/)
  })
})

describe('login CSRF', () => {
  it("[D-SE-02] the attacker's authorization response logs the victim's browser in to nothing", async () => {
    const attacker = newAttacker()
    const response = await attacker.authorize()
    const context = await bed.newContext()
    const page = await context.newPage()
    const before = codeRequests()
    await page.goto(response)
    await page.getByTestId('callback-failure').waitFor()
    expect(await page.getByTestId('callback-code').textContent()).toBe('unknown_state')
    expect(await context.cookies([bed.demo.backendUrl])).toEqual([])
    expect(codeRequests()).toBe(before)
  })

  it("the attacker's code in a login that the victim started is refused: the code verifier is another one", async () => {
    const attacker = newAttacker()
    const code = new URL(await attacker.authorize()).searchParams.get('code')
    const context = await bed.newContext()
    const page = await context.newPage()
    await page.goto(bed.demo.url)
    const own = new URL(await interceptCallback(page))
    own.searchParams.set('code', String(code))
    await page.goto(own.href)
    await page.getByTestId('callback-failure').waitFor()
    expect(await page.getByTestId('callback-code').textContent()).toBe('authorization_error')
    expect(await sidOf(context)).toBeUndefined()
    // The login that was abused is used up; the next one is not disturbed.
    await page.goto(bed.demo.url)
    await page.getByTestId('login').click()
    await page.getByTestId('logout').waitFor()
  })

  it("a foreign page cannot post the attacker's response into the victim's browser", async () => {
    const attacker = newAttacker()
    const { searchParams } = new URL(await attacker.authorize())
    const context = await bed.newContext()
    const page = await context.newPage()
    await page.goto(bed.foreign.origin(sibling))
    const before = codeRequests()
    const outcome = await page.evaluate(
      ([url, body]) =>
        fetch(url ?? '', {
          method: 'POST',
          credentials: 'include',
          mode: 'no-cors',
          body: new URLSearchParams(body),
        }).then(
          ({ type }) => type,
          () => 'refused',
        ),
      [`${bed.demo.backendUrl}/oauth-agent/login/end`, searchParams.toString()],
    )
    expect(['opaque', 'refused']).toContain(outcome)
    expect(await context.cookies([bed.demo.backendUrl])).toEqual([])
    expect(codeRequests()).toBe(before)
  })
})

/** The attacker's own browser. */
function newAttacker(): SessionBrowser {
  const { url, backendUrl: backend, authorityFile = '' } = bed.demo
  return new SessionBrowser(url, { backend, authority: readFileSync(authorityFile, 'utf8') })
}

async function loggedInAttacker(): Promise<SessionBrowser> {
  const attacker = newAttacker()
  await attacker.logIn()
  return attacker
}

/** As somebody with a moment at the victim's machine would: every cookie as it is. */
async function plant(context: BrowserContext, { jar }: SessionBrowser): Promise<void> {
  const cookies = jar.snapshot().map(({ name, value, path }: StoredCookie) => ({
    name,
    value,
    path,
    domain: new URL(bed.demo.backendUrl).hostname,
    secure: true,
    httpOnly: true,
    sameSite: 'Strict' as const,
  }))
  await context.addCookies(cookies)
}

/** The SPA shows no login button while somebody is logged in; the library can start a login all the same. */
async function startLogin(page: Page): Promise<void> {
  const started = await page.evaluate(async (backend) => {
    const response = await fetch(`${backend}/oauth-agent/login/start`, {
      method: 'POST',
      credentials: 'include',
      headers: { 'token-handler-version': '1' },
    })
    return (await response.json()) as { authorization_url: string }
  }, bed.demo.backendUrl)
  await page.goto(started.authorization_url)
  await submitCredentials(page)
}

/** A login of this tab up to the authorization response, which the callback page cannot post. */
async function interceptCallback(page: Page): Promise<string> {
  await page.route('**/login/end', (route) => route.abort())
  const callback = page.waitForRequest(/\/callback\?/)
  await page.getByTestId('login').click()
  await submitCredentials(page)
  await page.getByTestId('callback-failure').waitFor()
  await page.unroute('**/login/end')
  return (await callback).url()
}

async function sidOf(context: BrowserContext): Promise<string | undefined> {
  const cookies = await context.cookies(bed.demo.backendUrl)
  return cookies.find(({ name }) => name === '__Host-Http-th-sid')?.value
}

function codeRequests(): number {
  return bed.demo.tokenRequests('authorization_code').length
}
