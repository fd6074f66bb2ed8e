import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { callApi, logIn, logOut, submitCredentials, useDemo } from './support.ts'

const bed = useDemo()

/** The authorization response that a login of this tab ends with, before the agent has seen it. */
async function interceptCallback(page: Page): Promise<string> {
  const responded = page.waitForRequest((request) => request.url().startsWith(`${bed.demo.url}/callback?`))
  await page.route('**/login/end', (route) => route.abort())
  await page.getByTestId('login').click()
  await submitCredentials(page)
  expect((await failure(page)).code).toBe('network_error')
  await page.unroute('**/login/end')
  return (await responded).url()
}

function codeRequests(): number {
  return bed.demo.tokenRequests('authorization_code').length
}

async function failure(page: Page): Promise<{ code: string | null; url: string }> {
  await page.getByTestId('callback-failure').waitFor()
  return { code: await page.getByTestId('callback-code').textContent(), url: page.url() }
}

const unknownState = () => ({ code: 'unknown_state', url: `${bed.demo.url}/callback` })

describe('the callback page', () => {
  it('leaves no address with a code in the history, and going back finds the session', async () => {
    const page = await bed.logIn()
    const devtools = await page.context().newCDPSession(page)
    const { entries } = await devtools.send('Page.getNavigationHistory')
    const ours = entries.filter(({ url }) => url.startsWith(bed.demo.url))
    expect(ours.map(({ url }) => url)).toEqual([`${bed.demo.url}/`, `${bed.demo.url}/`])
    // Back over the authorization server's pages to where the login was started.
    const [first, last] = ours.map((entry) => entries.indexOf(entry)) as [number, number]
    for (let index = last; index > first + 1; index--) await page.goBack()
    expect(new URL(page.url()).origin).toBe(bed.demo.authorizationServer.issuer)
    await page.goBack()
    expect(page.url()).toBe(`${bed.demo.url}/`)
    await page.getByTestId('logout').waitFor()
    await callApi(page)
  })

  it('finds the session again when it is reloaded or its address is opened a second time', async () => {
    const page = await bed.open()
    const callback = await interceptCallback(page)
    await page.goto(callback)
    await page.getByTestId('logout').waitFor()
    const before = codeRequests()
    await page.goto(callback)
    await page.getByTestId('logout').waitFor()
    expect(page.url()).toBe(`${bed.demo.url}/`)
    bed.demo.clock.advanceSeconds(61)
    await page.goto(callback)
    await page.getByTestId('logout').waitFor()
    await callApi(page)
    expect(codeRequests()).toBe(before)
  })

  it('says that the login is over when its address is opened again after a logout', async () => {
    const page = await bed.open()
    const callback = await interceptCallback(page)
    await page.goto(callback)
    await page.getByTestId('logout').waitFor()
    await logOut(page)
    const before = codeRequests()
    await page.goto(callback)
    expect(await failure(page)).toEqual(unknownState())
    expect(codeRequests()).toBe(before)
  })

  it('refuses a login of another browser, which can still finish it itself', async () => {
    const page = await bed.open()
    const before = codeRequests()
    const callback = await interceptCallback(page)
    const stranger = await (await bed.newContext()).newPage()
    await stranger.goto(callback)
    expect(await failure(stranger)).toEqual(unknownState())
    expect(await stranger.context().cookies()).toEqual([])
    expect(codeRequests()).toBe(before)
    await page.goto(callback)
    await page.getByTestId('logout').waitFor()
    expect(codeRequests()).toBe(before + 1)
  })

  it('keeps the session of a browser that is led to the response of a login that it never started', async () => {
    const attacker = await bed.open()
    const callback = await interceptCallback(attacker)
    const victim = await bed.logIn()
    const [sid] = (await victim.context().cookies()).filter(({ name }) => name.endsWith('-sid'))
    const before = codeRequests()
    await victim.goto(callback)
    await victim.getByTestId('logout').waitFor()
    expect((await victim.context().cookies()).find(({ name }) => name.endsWith('-sid'))?.value).toBe(sid?.value)
    expect(codeRequests()).toBe(before)
  })

  it('of a login that was denied elsewhere is refused, and nobody is logged out by it', async () => {
    const page = await bed.logIn()
    await page.goto(`${bed.demo.url}/callback?error=access_denied&state=made-up`)
    expect(await failure(page)).toEqual(unknownState())
    await page.goto(bed.demo.url)
    await page.getByTestId('logout').waitFor()
  })

  it('goes home when there is nothing to do for it', async () => {
    const page = await bed.open('/callback')
    await page.getByTestId('welcome').waitFor()
    expect(page.url()).toBe(`${bed.demo.url}/`)
    await logIn(page)
  })
})
