import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { launchBrowser } from '../support/browser.ts'

/**
 * The browser suites prove what a browser refuses. A browser whose web security is off would let all of them pass for
 * nothing, so here the refusals are provoked on purpose.
 */
describe('the browser that the tests use', () => {
  let browser: Browser
  let api: Server
  let apiOrigin: string
  let page: Page
  let pages: Server
  let pageOrigin: string
  const arrived: {
    method: string
    origin: string | undefined
    site: string | string[] | undefined
    cookie: string | undefined
  }[] = []

  beforeAll(async () => {
    api = createServer((req, res) => {
      arrived.push({
        method: req.method ?? '',
        origin: req.headers.origin,
        site: req.headers['sec-fetch-site'],
        cookie: req.headers.cookie,
      })
      if (req.url === '/open') res.setHeader('Access-Control-Allow-Origin', '*')
      if (req.url === '/cookie')
        res.setHeader('Set-Cookie', '__Host-Http-c=1; Path=/; HttpOnly; Secure; SameSite=Strict')
      res.end('what the api says')
    })
    pages = createServer((_req, res) => {
      res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>page</title>')
    })
    // localhost and 127.0.0.1 are different sites, not only different origins.
    apiOrigin = `http://127.0.0.1:${await listen(api)}`
    pageOrigin = `http://localhost:${await listen(pages)}`
    browser = await launchBrowser()
    page = await browser.newPage()
  }, 60_000)

  afterAll(async () => {
    await browser?.close()
    api.close()
    pages.close()
  })

  it('lets a foreign origin read an answer only when CORS allows it', async () => {
    await page.goto(pageOrigin)
    const read = (url: string): Promise<string> =>
      page.evaluate(
        (target) =>
          fetch(target).then(
            (answer) => answer.text(),
            (error: Error) => `refused: ${error.name}`,
          ),
        url,
      )
    expect(await read(`${apiOrigin}/open`)).toBe('what the api says')
    expect(await read(`${apiOrigin}/closed`)).toBe('refused: TypeError')
  })

  it('sends Origin and Fetch Metadata on a cross-site POST', async () => {
    await page.goto(pageOrigin)
    arrived.length = 0
    await page.evaluate((target) => fetch(target, { method: 'POST', mode: 'no-cors', body: 'x' }), `${apiOrigin}/post`)
    expect(arrived).toEqual([{ method: 'POST', origin: pageOrigin, site: 'cross-site', cookie: undefined }])
  })

  it('keeps an HttpOnly Strict cookie from scripts and from other sites', async () => {
    await page.goto(`${apiOrigin}/cookie`)
    arrived.length = 0
    await page.evaluate(() => fetch('/own'))
    expect(await page.evaluate(() => document.cookie)).toBe('')
    await page.goto(pageOrigin)
    await page.evaluate((target) => fetch(target, { mode: 'no-cors', credentials: 'include' }), `${apiOrigin}/foreign`)
    expect(arrived.map((request) => request.cookie)).toEqual(['__Host-Http-c=1', undefined])
  })

  it('gives a page of a foreign origin no access to the window of another', async () => {
    await page.goto(pageOrigin)
    const outcome = await page.evaluate(async (target) => {
      const frame = document.createElement('iframe')
      frame.src = target
      document.body.append(frame)
      await new Promise((resolve) => frame.addEventListener('load', resolve))
      return frame.contentDocument === null ? 'refused' : 'readable'
    }, `${apiOrigin}/open`)
    expect(outcome).toBe('refused')
  })
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}
