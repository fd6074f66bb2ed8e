import { expect, it } from '@jest/globals'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { take, viewport, whole } from './pictures.ts'
import { logIn, submitCredentials, useDemo } from './support.ts'

const bed = useDemo()

async function open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await bed.newContext({
    viewport,
    deviceScaleFactor: 1,
    locale: 'en-GB',
    colorScheme: 'light',
    reducedMotion: 'reduce',
    ...options,
  })
  const page = await context.newPage()
  await page.goto(bed.demo.url + path)
  return page
}

it('the welcome page', async () => {
  const page = await open('/')
  await page.getByTestId('welcome').waitFor()
  expect(await take(page, 'signed-out')).toEqual(whole)
})

it.each(['light', 'dark'] as const)('the overview, in %s', async (colorScheme) => {
  const page = await open('/', { colorScheme })
  await logIn(page)
  await page.getByTestId('claims').getByText('demo@example.com').waitFor()
  expect(await take(page, colorScheme === 'light' ? 'signed-in' : 'signed-in-dark')).toEqual(whole)
})

it('orders', async () => {
  const page = await open('/')
  await logIn(page)
  await page.getByTestId('nav-orders').click()
  for (const [item, quantity] of [
    ['Sealing wax, red', '3'],
    ['Rag paper, 120 g', '500'],
    ['Iron gall ink', '2'],
  ] as const) {
    await page.getByTestId('order-item').fill(item)
    await page.getByTestId('order-quantity').fill(quantity)
    await page.getByTestId('order-submit').click()
    await page.getByTestId('order').filter({ hasText: item }).waitFor()
  }
  expect(await take(page, 'orders')).toEqual(whole)
})

it('a second step that is asked for', async () => {
  const page = await open('/orders')
  await page.getByTestId('login-orders').click()
  await submitCredentials(page)
  await page.getByTestId('order-cancel').first().click()
  await page.getByTestId('step-up').waitFor()
  expect(await take(page, 'step-up')).toEqual(whole)
})

it('files', async () => {
  const page = await open('/')
  await logIn(page)
  await page.getByTestId('nav-files').click()
  for (const [name, bytes] of [
    ['letter.txt', 2400],
    ['seal.pdf', 183_000],
  ] as const) {
    const mimeType = name.endsWith('pdf') ? 'application/pdf' : 'text/plain'
    await page.getByTestId('file').setInputFiles({ name, mimeType, buffer: Buffer.alloc(bytes) })
    await page.getByTestId('upload').click()
    await page.getByTestId('sent-file').filter({ hasText: name }).waitFor()
  }
  expect(await take(page, 'files')).toEqual(whole)
})

it('live feeds', async () => {
  const page = await open('/')
  await logIn(page)
  await page.getByTestId('nav-live').click()
  for (const feed of ['sse', 'ws']) {
    await page.locator(`[data-testid=${feed}-state][data-status=open]`).waitFor()
  }
  for (const note of ['The wax has arrived', 'Two seals are missing']) {
    await page.getByTestId('note').fill(note)
    await page.getByTestId('note-send').click()
    for (const feed of ['sse', 'ws']) await page.getByTestId(`${feed}-entries`).getByText(note).waitFor()
  }
  expect(await take(page, 'live')).toEqual(whole)
})

it('what JavaScript can see', async () => {
  const page = await open('/')
  await logIn(page)
  await page.getByTestId('nav-inspect').click()
  await page.locator('[data-testid=inspect-result][data-tokens="0"]').waitFor()
  expect(await take(page, 'inspect')).toEqual(whole)
})
