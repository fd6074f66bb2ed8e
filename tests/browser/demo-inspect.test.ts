import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { useDemo } from './support.ts'

const bed = useDemo()

async function inspect(): Promise<Page> {
  const page = await bed.logIn()
  await page.getByTestId('nav-inspect').click()
  await page.getByTestId('inspect-result').waitFor()
  return page
}

/** How many tokens were found, in how many places, and how many places could not be read. */
async function verdict(page: Page): Promise<Record<'tokens' | 'places' | 'unread', number>> {
  const result = page.getByTestId('inspect-result')
  const [tokens, places, unread] = await Promise.all(
    ['tokens', 'places', 'unread'].map(async (name) => Number(await result.getAttribute(`data-${name}`))),
  )
  return { tokens: tokens ?? NaN, places: places ?? NaN, unread: unread ?? NaN }
}

function found(page: Page, place: string): Promise<number> {
  return page.getByTestId(`inspect-${place}`).evaluate((element) => Number((element as HTMLElement).dataset['tokens']))
}

describe('the page that asks what JavaScript can see', () => {
  it('finds no token anywhere, though it has read answers of agent and API', async () => {
    const page = await inspect()
    const { tokens, places, unread } = await verdict(page)
    expect({ tokens, unread }).toEqual({ tokens: 0, unread: 0 })
    expect(places).toBeGreaterThanOrEqual(16)
    expect(await page.getByTestId('inspect-result').getAttribute('data-capabilities')).toBe('1')
    expect(await page.getByTestId('inspect-selftest').getAttribute('data-works')).toBe('true')
    for (const place of ['session', 'me', 'orders', 'document']) {
      const row = page.getByTestId(`inspect-${place}`)
      expect(Number(await row.getAttribute('data-characters'))).toBeGreaterThan(100)
    }
    expect(await page.getByTestId('inspect-document-cookie').getAttribute('data-characters')).toBe('0')
  })

  it('control: finds a token as soon as there is one, of every kind that matters here', async () => {
    const page = await inspect()
    const { accessToken = '', refreshToken = '' } = bed.demo.authorizationServer.issued.at(-1) ?? {}
    const sealed = (await page.context().cookies(`${bed.demo.url}/api`)).find(({ name }) => name.includes('-at-'))
    await page.evaluate(
      ([access, refresh, cookie]) => {
        localStorage.setItem('access_token', access ?? '')
        sessionStorage.setItem('refresh_token', refresh ?? '')
        document.cookie = `leak=${cookie}; path=/`
      },
      [accessToken, refreshToken, sealed?.value],
    )
    await page.getByTestId('inspect-repeat').click()
    await page.locator('[data-testid=inspect-result]:not([data-tokens="0"])').waitFor()
    expect(await found(page, 'local-storage')).toBe(1)
    expect(await found(page, 'session-storage')).toBe(1)
    expect(await found(page, 'document-cookie')).toBe(1)
    expect(await page.getByTestId('inspect-local-storage').textContent()).toContain(accessToken.slice(0, 6))
  })
})
