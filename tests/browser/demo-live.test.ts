import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { logOut, useDemo } from './support.ts'

const bed = useDemo()

async function openLive(page: Page): Promise<void> {
  await page.getByTestId('nav-live').click()
  for (const feed of feeds) await page.locator(`[data-testid=${feed}-state][data-status=open]`).waitFor()
}

const feeds = ['sse', 'ws'] as const

async function placeOrder(page: Page, item: string): Promise<void> {
  await page.getByTestId('nav-orders').click()
  await page.getByTestId('order-item').fill(item)
  await page.getByTestId('order-submit').click()
  await page.getByTestId('order').filter({ hasText: item }).waitFor()
}

async function secondTab(page: Page): Promise<Page> {
  const other = await bed.open('/', page.context())
  await other.getByTestId('logout').waitFor()
  return other
}

describe('live feeds', () => {
  it('show in one tab what happens in another', async () => {
    const page = await bed.logIn()
    await openLive(page)
    await placeOrder(await secondTab(page), 'Quill')
    for (const feed of feeds) await page.getByTestId(`${feed}-entries`).getByText('Ordered: Quill').waitFor()
    expect(bed.demo.lastBearer()).toBeDefined()
  })

  it('take a note over the WebSocket, and bring it to both', async () => {
    const page = await bed.logIn()
    await openLive(page)
    await page.getByTestId('note').fill('hello from a socket')
    await page.getByTestId('note-send').click()
    for (const feed of feeds) await page.getByTestId(`${feed}-entries`).getByText('hello from a socket').waitFor()
    const { headers } = bed.demo.api.received.find(({ url }) => url === '/api/feed') ?? {}
    expect(headers?.authorization).toMatch(/^Bearer /)
    expect(headers?.cookie).toBeUndefined()
  })

  it('end with the session when no page has ended it', async () => {
    const page = await bed.logIn()
    await openLive(page)
    // A logout that no page of this browser hears of: the cookies in the hands of a tool.
    const cookie = (await page.context().cookies(`${bed.demo.url}/oauth-agent/`))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
    const headers = { cookie, 'token-handler-version': '1', origin: bed.demo.url }
    const answer = await fetch(`${bed.demo.url}/oauth-agent/logout`, { method: 'POST', headers })
    expect(answer.status).toBe(200)
    for (const feed of feeds) {
      await page.locator(`[data-testid=${feed}-state][data-status=closed][data-code=session_ended]`).waitFor()
    }
    await page.getByTestId('notice').waitFor()
  })

  it('end in every tab with the logout in one', async () => {
    const page = await bed.logIn()
    await openLive(page)
    await logOut(await secondTab(page))
    for (const feed of feeds) {
      const state = page.getByTestId(`${feed}-state`)
      await state.and(page.locator('[data-status=closed]')).waitFor()
      expect(await state.textContent()).toBe('session ended')
    }
    await page.getByTestId('login-live').waitFor()
  })
})
