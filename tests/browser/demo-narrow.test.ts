import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { logIn, useDemo } from './support.ts'

const bed = useDemo()
const viewport = { width: 320, height: 640 }

const pageWidth = (page: Page): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth)

describe('a window of 320 pixels, or a page that is enlarged to that (WCAG 2.2, 1.4.10)', () => {
  it('never has to be scrolled sideways', async () => {
    const page = await bed.open('/', await bed.newContext({ viewport }))
    await page.getByTestId('welcome').waitFor()
    expect(await pageWidth(page)).toBe(viewport.width)
    await logIn(page)
    await page.getByTestId('claims').getByText('demo@example.com').waitFor()
    expect(await pageWidth(page)).toBe(viewport.width)

    await page.getByTestId('nav-orders').click()
    await page.getByTestId('order-item').fill('A roll of sealing tape, 120 g, in red')
    await page.getByTestId('order-submit').click()
    await page.getByTestId('order').first().waitFor()
    expect(await pageWidth(page)).toBe(viewport.width)

    await page.getByTestId('nav-files').click()
    await page
      .getByTestId('file')
      .setInputFiles({ name: 'a-letter-with-a-long-name.txt', mimeType: 'text/plain', buffer: Buffer.alloc(24) })
    await page.getByTestId('upload').click()
    await page.getByTestId('sent-file').waitFor()
    expect(await pageWidth(page)).toBe(viewport.width)

    for (const view of ['live', 'inspect']) {
      await page.getByTestId(`nav-${view}`).click()
      await page.waitForURL(`**/${view}`)
      expect([view, await pageWidth(page)]).toEqual([view, viewport.width])
    }
  })
})
