import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { launchBrowser } from './browser.ts'
import { CookieJar } from './cookie-jar.ts'

/** Each entry: the Set-Cookie lines of one answer, in order. */
const ANSWERS: readonly (readonly string[])[] = [
  ['a=1', 'b=2; Path=/', 'c=3; Path=/set', 'd=4; Path=/other'],
  ['a=1; Path=/', 'b=1; Path=/set', 'a=2; Path=/', 'c=1; Path=/'],
  ['a=1; Path=/', 'a=2; Path=/set'],
  ['__Host-Http-a=1; Path=/; Secure; HttpOnly; SameSite=Strict', '__Host-Http-b=1; Path=/; Secure'],
  ['__Host-Http-a=1; Path=/set; Secure; HttpOnly', '__Host-Http-b=1; Secure; HttpOnly'],
  ['__hOST-hTTP-a=1; Path=/; Secure', '__HOST-b=1; Path=/', '__Host-c=1; Path=/; Secure'],
  ['__Http-a=1; Secure; HttpOnly', '__Http-b=1; Secure', '__http-c=1; HttpOnly'],
  ['__Secure-a=1; Secure', '__Secure-b=1', '__sECURE-c=1'],
  ['__Host-a=1; Path=/; Secure; Domain=localhost', '__Secure-b=1; Secure; Domain=localhost'],
  ['=__Host-a=1; Path=/; Secure', '__Secure-a', '=x', 'y'],
  ['', '=', ' a = 1 ', '\tb\t=\t2', 'c="q"', 'd=e=f', 'g='],
  [`ab=${'x'.repeat(4094)}`],
  [`ab=${'x'.repeat(4095)}`],
  [`a=1; Path=/${'x'.repeat(1023)}`, `b=1; Path=/${'x'.repeat(1024)}`],
  ['a=1; Max-Age=0', 'b=1; Max-Age=-1', 'c=1; Max-Age=soon', 'd=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT'],
  ['a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'b=1; Expires=Wed, 01-Jan-98 00:00:00 GMT', 'c=1; Expires=nonsense'],
  ['a=1', 'a=; Max-Age=0', 'b=1; Path=/', 'b=; Path=/set; Max-Age=0'],
  ['a=1; SameSite=None', 'b=1; SameSite=None; Secure', 'c=1; SameSite=Odd', 'd=1; SameSite=strict'],
  ['a=1; Domain=evil.test', 'b=1; Domain=.localhost', 'c=1; Domain='],
  ['a=1; Path=other', 'b=1; Path=', 'c=1; path=/SET', 'd=1; PATH=/set; HTTPONLY; SECURE'],
  ['$Version=1; Path=/', 'a b=c d; Path=/', 'ä=ü; Path=/'],
]

let browser: Browser
let server: Server
let origin: string

beforeAll(async () => {
  server = createServer((req, res) => {
    const [, index] = /^\/set\/(\d+)/.exec(req.url ?? '') ?? []
    if (index !== undefined) res.setHeader('Set-Cookie', asBytes(ANSWERS[Number(index)] ?? []))
    res.setHeader('Content-Type', 'text/plain; charset=utf-8').end(req.headers.cookie ?? '')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://localhost:${(server.address() as AddressInfo).port}`
  browser = await launchBrowser()
}, 60_000)

afterAll(async () => {
  await browser?.close()
  server.close()
})

it.each(ANSWERS.map((lines, index) => [index, lines] as const))(
  'keeps and sends as Chromium does: %d',
  async (index, lines) => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${origin}/set/${index}`)
    const jar = new CookieJar()
    jar.store(`${origin}/set/${index}`, lines)
    for (const path of ['/set/next', '/', '/set', '/settings', `/${'x'.repeat(1023)}`]) {
      await page.goto(origin + path)
      const sent = await page.evaluate(() => document.body.textContent)
      expect([path, sent]).toEqual([path, asBytes([jar.header(origin + path)])[0]])
    }
    await context.close()
  },
)

/** Node writes headers as Latin-1; browsers read and send UTF-8. */
function asBytes(lines: readonly string[]): string[] {
  return lines.map((line) => Buffer.from(line).toString('latin1'))
}
