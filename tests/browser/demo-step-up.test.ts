import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { useDemo } from './support.ts'

const bed = useDemo()

/** Logged in with a password only, on the page of the orders, with one that could be cancelled. */
async function withOrder(): Promise<Page> {
  const page = await bed.logIn()
  await page.getByTestId('nav-orders').click()
  await page.getByTestId('order-item').fill('Sealing wax')
  await page.getByTestId('order-submit').click()
  await page.getByTestId('order').first().waitFor()
  return page
}

function cancellations(): number {
  return bed.demo.api.received.filter(({ url }) => url.startsWith('/api/cancellations/')).length
}

describe('a call that asks for a stronger login (RFC 9470)', () => {
  it('is explained, leads through the second step and back, and is repeated by itself', async () => {
    const page = await withOrder()
    const before = cancellations()
    await page.getByTestId('order-cancel').first().click()
    await page.getByTestId('step-up').waitFor()
    expect(await page.getByTestId('step-up-acr').textContent()).toBe('urn:example:mfa')
    expect(cancellations()).toBe(before)

    await page.getByTestId('step-up-confirm').click()
    await page.waitForURL((url) => url.pathname.startsWith('/interaction/'))
    expect(await page.locator('input[name=password]').count()).toBe(0)
    await page.locator('button[type=submit]').first().click()
    await page.getByTestId('repeated').waitFor()
    expect(new URL(page.url()).pathname).toBe('/orders')
    expect(await page.getByTestId('repeated').textContent()).toMatch(/^PUT \/api\/cancellations\/\d+$/)
    await page.getByTestId('order-cancelled').first().waitFor()
    expect(cancellations()).toBe(before + 1)
    expect(await page.evaluate(() => Object.keys(sessionStorage))).toEqual([])

    await page.reload()
    await page.getByTestId('order-cancelled').first().waitFor()
    expect(cancellations()).toBe(before + 1)
  })

  it('keeps no token while the page is away', async () => {
    const page = await withOrder()
    await page.getByTestId('order-cancel').first().click()
    await page.getByTestId('step-up-confirm').click()
    await page.waitForURL((url) => url.pathname.startsWith('/interaction/'))
    await page.goto(`${bed.demo.url}/favicon.svg`)
    const kept = await page.evaluate(() => JSON.stringify(Object.entries(sessionStorage)))
    expect(kept).toContain('/api/cancellations/')
    expect(bed.demo.secrets().find(kept)).toEqual([])
  })

  it('is given up without consequences', async () => {
    const page = await withOrder()
    const before = cancellations()
    await page.getByTestId('order-cancel').first().click()
    await page.getByTestId('step-up-confirm').click()
    // The page that is left has buttons of that name too.
    await page.waitForURL((url) => url.pathname.startsWith('/interaction/'))
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByTestId('callback-failure').waitFor()
    expect(await page.getByTestId('callback-code').textContent()).toBe('access_denied')
    await page.goto(`${bed.demo.url}/orders`)
    await page.getByTestId('order-cancel').first().waitFor()
    expect(cancellations()).toBe(before)
    expect(await page.getByTestId('repeated').count()).toBe(0)
  })
})
