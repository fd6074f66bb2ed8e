import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { callApi, logIn, useDemo } from './support.ts'

const lifetimeSeconds = 120
const bed = useDemo({ accessTokenLifetimeSeconds: lifetimeSeconds })

async function problemOf(page: Page): Promise<string | null> {
  await page.getByTestId('error').waitFor()
  return page.getByTestId('error-code').textContent()
}

async function cookieNames(page: Page): Promise<string[]> {
  return (await page.context().cookies()).map(({ name }) => name).toSorted()
}

/** Ends the session of a tab's browser from the server's side. */
async function endSession(page: Page): Promise<void> {
  const cookies = await page.context().cookies()
  const sid = cookies.find(({ name }) => name.endsWith('-sid'))?.value ?? ''
  await bed.demo.tokenHandler.ledger.end({ sid, reason: 'revoked', keepSeconds: 43_200, withRule: true })
}

/** A server is gone, and comes back on the same port. */
async function stopListening(server: Server): Promise<() => Promise<void>> {
  const { port } = server.address() as AddressInfo
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
  return async () => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
}

function revocations(): number {
  const { requests } = bed.demo.authorizationServer
  return requests.filter(({ path, status }) => path === '/token/revocation' && status === 200).length
}

describe('a session that is ended from outside', () => {
  it('is over with the next call, the SPA says so, and a login works at once', async () => {
    const page = await bed.logIn()
    await callApi(page)
    await endSession(page)
    const answer = page.waitForResponse((response) => response.url().endsWith('/api/me'))
    await page.getByTestId('call-me').click()
    expect((await answer).status()).toBe(401)
    expect(await (await answer).json()).toMatchObject({ code: 'session_ended' })
    await page.getByTestId('welcome').waitFor()
    expect(await problemOf(page)).toBe('session_ended')
    // The authorization server knows the browser still, and asks nothing.
    await page.getByTestId('login').click()
    await page.getByTestId('logout').waitFor()
    await callApi(page)
  })

  it('is over in every tab, and after a reload too', async () => {
    const page = await bed.logIn()
    const other = await bed.open('/', page.context())
    await other.getByTestId('logout').waitFor()
    await endSession(page)
    await page.getByTestId('refresh').click()
    await page.getByTestId('welcome').waitFor()
    await other.getByTestId('welcome').waitFor()
    expect(await other.getByTestId('notice').textContent()).toContain('Your session is over.')
    await page.reload()
    await page.getByTestId('welcome').waitFor()
    expect((await cookieNames(page)).filter((name) => /-(?:rt|id)-/.test(name))).toEqual([])
  })
})

describe('a server that is away for a while', () => {
  it('agent and proxy: the SPA shows a passing problem and nobody is logged out', async () => {
    const page = await bed.logIn()
    const before = await cookieNames(page)
    const listenAgain = await stopListening(bed.demo.tokenHandler.server)
    try {
      await page.getByTestId('refresh').click()
      expect(await problemOf(page)).toBe('network_error')
      expect(await page.getByTestId('logout').isVisible()).toBe(true)
      await page.getByTestId('call-me').click()
      expect(await problemOf(page)).toBe('network_error')
    } finally {
      await listenAgain()
    }
    expect(await cookieNames(page)).toEqual(before)
    await page.getByTestId('refresh').click()
    await page.getByTestId('error').waitFor({ state: 'detached' })
    await callApi(page)
  })

  it('authorization server: calls go on while the token lives, and a refresh waits for better times', async () => {
    const page = await bed.logIn()
    const stranger = await bed.open()
    const before = await cookieNames(page)
    const listenAgain = await stopListening(bed.demo.authorizationServer.server)
    try {
      await callApi(page)
      bed.demo.clock.advanceSeconds(lifetimeSeconds + 1)
      await page.getByTestId('call-me').click()
      expect(await problemOf(page)).toBe('refresh_pending')
      expect(await page.getByTestId('error-hint').textContent()).toContain('The session is kept.')
      expect(await page.getByTestId('logout').isVisible()).toBe(true)
      await page.reload()
      await page.getByTestId('logout').waitFor()
      expect(await cookieNames(page)).toEqual(before)
      await stranger.getByTestId('login').click()
      expect(await problemOf(stranger)).toBe('authorization_server_error')
    } finally {
      await listenAgain()
    }
    await callApi(page)
    await logIn(stranger)
  })

  it('authorization server, during a logout: the session is over here at once', async () => {
    const page = await bed.logIn()
    const before = revocations()
    const listenAgain = await stopListening(bed.demo.authorizationServer.server)
    try {
      const answered = page.waitForResponse((response) => response.url().endsWith('/logout'))
      await page.getByTestId('logout').click()
      expect((await answered).status()).toBe(200)
      await until('no cookies', async () => (await page.context().cookies(bed.demo.url)).length === 0)
    } finally {
      await listenAgain()
    }
    await until('the revocation, once it can be', () => revocations() > before)
    await page.goto(bed.demo.url)
    await page.getByTestId('welcome').waitFor()
  })
})
