import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import { callApi, logIn, logOut, submitCredentials, useDemo } from './support.ts'

const bed = useDemo()

describe('a login', () => {
  it('leads to the SPA, which shows who it is, and calls the API with the token that nobody sees', async () => {
    const page = await bed.logIn()
    expect(page.url()).toBe(`${bed.demo.url}/`)
    expect(await page.getByTestId('user').textContent()).toBe('Demo User')
    expect(await page.getByTestId('claims').textContent()).toContain('demo@example.com')
    await callApi(page)
    expect(await page.getByTestId('me').textContent()).toContain('orders:read')
    expect(bed.demo.lastBearer()).toBe(bed.demo.authorizationServer.issued.at(-1)?.accessToken)
  })

  it('can be tried again after a wrong password', async () => {
    const page = await bed.open()
    await page.getByTestId('login').click()
    await submitCredentials(page, 'wrong')
    expect(await page.getByRole('alert').textContent()).toBe('User name or password is wrong.')
    await submitCredentials(page)
    await page.getByTestId('logout').waitFor()
  })

  it('that is cancelled says so, and can be started again from there', async () => {
    const page = await bed.open('/orders')
    await page.getByTestId('login-orders').click()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByTestId('callback-failure').waitFor()
    expect(await page.getByTestId('callback-code').textContent()).toBe('access_denied')
    expect(await page.getByTestId('callback-message').textContent()).toBe('The login was declined.')
    expect(page.url()).toBe(`${bed.demo.url}/callback`)
    await page.getByTestId('start-again').click()
    await submitCredentials(page)
    await page.getByTestId('orders-reload').waitFor()
    expect(page.url()).toBe(`${bed.demo.url}/orders`)
  })

  it('can be started again by whoever goes back from it to the very page that was left', async () => {
    const page = await bed.open()
    // The browser stays, and the page is as the back/forward cache gives it back.
    await page.route(`${bed.demo.authorizationServer.issuer}/**`, (route) => route.fulfill({ status: 204 }))
    const asked = page.waitForRequest((request) => request.url().startsWith(bed.demo.authorizationServer.issuer))
    await page.getByTestId('login').click()
    await asked
    expect(await page.getByTestId('login').isDisabled()).toBe(true)
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
    await page.unroute(`${bed.demo.authorizationServer.issuer}/**`)
    await logIn(page)
  })

  it('survives a reload', async () => {
    const page = await bed.logIn()
    await page.reload()
    await page.getByTestId('logout').waitFor()
    await callApi(page)
    expect(bed.demo.lastBearer()).toBe(bed.demo.authorizationServer.issued.at(-1)?.accessToken)
  })

  it('returns to the page that it was started from', async () => {
    const page = await bed.open('/orders')
    await page.getByTestId('login-orders').click()
    await submitCredentials(page)
    await page.getByTestId('orders-reload').waitFor()
    expect(page.url()).toBe(`${bed.demo.url}/orders`)
  })

  it('holds when a link of another site leads to the SPA', async () => {
    const foreign = createServer((_req, res) => {
      res.setHeader('content-type', 'text/html').end(`<a href="${bed.demo.url}/orders">orders</a>`)
    })
    await new Promise<void>((resolve) => foreign.listen(0, '127.0.0.1', resolve))
    try {
      const page = await bed.logIn()
      const before = bed.demo.wire.requests.length
      await page.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`)
      await page.getByRole('link').click()
      await page.getByTestId('orders-reload').waitFor()
      const [shell, ...others] = bed.demo.wire.requests.slice(before)
      expect(shell).toMatchObject({ path: '/orders', headers: { 'sec-fetch-site': 'cross-site' } })
      expect(shell?.headers.cookie).toBeUndefined()
      const calls = others.filter(({ path }) => path.startsWith('/api/') || path.startsWith('/oauth-agent/'))
      expect(calls.map(({ headers }) => headers['sec-fetch-site'])).toEqual(calls.map(() => 'same-origin'))
      expect(calls.map(({ path }) => path)).toContain('/api/orders')
    } finally {
      foreign.close()
      foreign.closeAllConnections()
    }
  })

  it('places an order, and finds it again', async () => {
    const page = await bed.logIn()
    await page.getByTestId('nav-orders').click()
    await page.getByTestId('order-item').fill('Sealing wax, red')
    await page.getByTestId('order-quantity').fill('3')
    await page.getByTestId('order-submit').click()
    const order = page.getByTestId('order').filter({ hasText: 'Sealing wax, red' })
    await order.waitFor()
    await page.reload()
    await order.waitFor()
    expect(await order.textContent()).toContain('3')
    expect(bed.demo.api.received.findLast(({ method }) => method === 'POST')?.headers.cookie).toBeUndefined()
  })

  it('[B-LO-06][C-61][C-62] is not touched by a return from a logout, whatever its state is, nor is its absence', async () => {
    const page = await bed.logIn()
    const returnWith = async (query: string): Promise<string[]> => {
      const before = bed.demo.wire.requests.length
      await page.goto(`${bed.demo.url}/${query}`)
      await page.getByTestId('logout').or(page.getByTestId('welcome')).first().waitFor()
      const asked = bed.demo.wire.requests.slice(before).map(({ method, path }) => `${method} ${path}`)
      return asked.filter((one) => one.includes('/oauth-agent/') && one !== 'GET /oauth-agent/session')
    }
    for (const query of ['?state=another', '', '?state=a&state=b']) {
      expect(await returnWith(query)).toEqual([])
      await page.getByTestId('logout').waitFor()
    }
    await logOut(page)
    for (const query of ['?state=another', '', '?state=a&state=b']) {
      expect(await returnWith(query)).toEqual([])
      await page.getByTestId('welcome').waitFor()
    }
  })

  it('works again after a logout, for the authorization server has forgotten the browser too', async () => {
    const page = await bed.logIn()
    await page.getByTestId('logout').click()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByTestId('welcome').waitFor()
    expect(new URL(page.url()).pathname).toBe('/')
    expect(await page.context().cookies(bed.demo.url)).toEqual([])
    await logIn(page)
  })
})
