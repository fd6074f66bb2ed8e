import { readFile } from 'node:fs/promises'
import { describe, expect, it } from '@jest/globals'
import type { Page, Request } from 'playwright-core'
import { useDemo } from './support.ts'

const bed = useDemo()

async function openFiles(): Promise<Page> {
  const page = await bed.logIn()
  await page.getByTestId('nav-files').click()
  return page
}

const content = Buffer.alloc(3_000_000, 'all work and no play ')
const file = { name: 'a report, 2.txt', mimeType: 'text/plain', buffer: content }

/** Requests of the page to the storage, without preflights. */
function storageRequests(page: Page): Request[] {
  const requests: Request[] = []
  page.on('request', (request) => {
    if (request.url().startsWith(bed.demo.storage.url)) requests.push(request)
  })
  return requests
}

async function send(page: Page): Promise<void> {
  await page.getByTestId('file').setInputFiles(file)
  await page.getByTestId('upload').click()
  await page.getByTestId('sent-file').filter({ hasText: file.name }).waitFor()
}

describe('files', () => {
  it('go straight to the storage, with progress, and come back as they were', async () => {
    const page = await openFiles()
    const requests = storageRequests(page)
    await page.evaluate(() => {
      const seen: number[] = []
      Object.assign(window, { seen })
      new MutationObserver(() => {
        const bar = document.querySelector<HTMLProgressElement>('[data-testid=upload-progress]')
        if (bar !== null) seen.push(bar.value)
      }).observe(document.body, { subtree: true, childList: true, attributes: true })
    })
    await send(page)
    const seen = await page.evaluate(() => (window as unknown as { seen: number[] }).seen)
    expect(seen).toContain(content.length)

    const [download] = await Promise.all([page.waitForEvent('download'), page.getByTestId('download').click()])
    expect(download.suggestedFilename()).toBe(file.name)
    expect((await readFile(await download.path())).equals(content)).toBe(true)

    expect(requests.map((request) => request.method())).toEqual(['PUT', 'GET'])
    for (const request of requests) {
      const { cookie, authorization, referer } = await request.allHeaders()
      expect({ cookie, authorization, referer }).toEqual({})
      expect(bed.demo.secrets().find(request.url())).toEqual([])
    }
    expect(decodeURIComponent(new URL(requests[0]?.url() ?? '').pathname)).toBe(`/files/uploads/demo/${file.name}`)
  })

  it('of a type that is not allowed are refused before anything is sent', async () => {
    const page = await openFiles()
    const requests = storageRequests(page)
    await page.getByTestId('file').setInputFiles({ name: 'page.html', mimeType: 'text/html', buffer: content })
    await page.getByTestId('upload').click()
    await page.getByTestId('error').waitFor()
    expect(await page.getByTestId('error').getAttribute('data-code')).toBe('invalid_request')
    expect(requests).toEqual([])
  })

  it('can be stopped on their way, which is no problem', async () => {
    const page = await openFiles()
    await page.route(`${bed.demo.storage.url}/**`, () => undefined)
    await page.getByTestId('file').setInputFiles(file)
    await page.getByTestId('upload').click()
    await page.getByTestId('upload-stop').click()
    await page.getByTestId('upload').waitFor()
    expect(await page.getByTestId('error').count()).toBe(0)
    expect(await page.getByTestId('sent-file').count()).toBe(0)
  })

  it('a capability is of no use for another object, method or type', async () => {
    const page = await openFiles()
    const requests = storageRequests(page)
    await send(page)
    const [put] = requests
    const url = put?.url() ?? ''
    const given = (await put?.allHeaders()) ?? {}
    const headers = { 'content-type': 'text/plain', 'x-amz-checksum-sha256': given['x-amz-checksum-sha256'] ?? '' }
    const again = { method: 'PUT', headers, body: content }
    const statuses = await Promise.all([
      fetch(url, again),
      fetch(url.replace('/demo/', '/somebody/'), again),
      fetch(url, { ...again, method: 'POST' }),
      fetch(url, { ...again, headers: { ...headers, 'content-type': 'text/html' } }),
    ]).then((answers) => answers.map(({ status }) => status))
    expect(statuses).toEqual([200, 403, 403, 403])
  })

  it('leave no token and no key of the storage where script can read', async () => {
    const page = await openFiles()
    await send(page)
    await page.getByTestId('nav-inspect').click()
    await page.locator('[data-testid=inspect-result][data-tokens="0"][data-unread="0"]').waitFor()
    expect(Number(await page.getByTestId('inspect-result').getAttribute('data-capabilities'))).toBeGreaterThanOrEqual(2)
    const secret = process.env['AWS_SECRET_ACCESS_KEY'] ?? ''
    expect(secret).toHaveLength(43)
    expect(await page.content()).not.toContain(secret)
    expect(bed.demo.log()).not.toContain(secret)
  })
})
