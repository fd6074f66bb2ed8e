import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { BrowserContext, Page } from 'playwright-core'
import { findJwts } from '../support/canary.ts'
import { until } from '../support/until.ts'
import { callApi, logIn, useDemo } from './support.ts'

const bed = useDemo()
const violations: string[] = []
afterEach(() => {
  const seen = violations.splice(0)
  if (seen.length > 0) throw new Error(seen.join('\n'))
})

/** A tab with the page, whose console is watched for what the policy forbids. */
async function openOperations(context?: BrowserContext): Promise<Page> {
  const page = await (context ?? (await bed.newContext())).newPage()
  page.on('console', (message) => {
    if (/Content[- ]Security[- ]Policy|violates/i.test(message.text())) violations.push(message.text())
  })
  page.on('pageerror', (error) => violations.push(error.message))
  await page.goto(`${bed.demo.adminUrl}/operations`)
  return page
}

async function signIn(page: Page, key = bed.demo.adminKey): Promise<void> {
  await page.getByLabel('Admin key').fill(key)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

/** What stands under the heading of a chart. */
function figure(page: Page, title: string): Promise<string | null> {
  return page
    .locator('.card', { has: page.getByRole('heading', { name: title, exact: true }) })
    .locator('.figure')
    .textContent()
}

describe('the operations page', () => {
  it('is opened by the right key only, and closed by signing out', async () => {
    const page = await openOperations()
    await signIn(page, 'x'.repeat(43))
    expect(await page.getByRole('alert').textContent()).toBe('This is no admin key.')
    expect(await page.getByLabel('Admin key').getAttribute('aria-describedby')).toBe('problem')
    await signIn(page)
    expect(await page.getByTestId('actor').textContent()).toBe('demo')
    expect(page.url()).toBe(`${bed.demo.adminUrl}/operations`)
    const [cookie] = await page.context().cookies(page.url())
    expect(cookie).toMatchObject({ name: 'th-operations', path: '/operations', httpOnly: true, sameSite: 'Strict' })
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Admin key').waitFor()
    expect(await page.context().cookies(page.url())).toEqual([])
    await page.goBack()
    await page.getByLabel('Admin key').waitFor()
  })

  it('shows the figures of what happened, and neither token nor key', async () => {
    const spa = await bed.logIn()
    await callApi(spa)
    await fetch(`${bed.demo.url}/api/orders`)
    const page = await openOperations()
    await signIn(page)
    expect(Number(await figure(page, 'Live sessions'))).toBeGreaterThanOrEqual(1)
    expect(Number(await figure(page, 'Logins'))).toBeGreaterThanOrEqual(1)
    expect(Number(await figure(page, 'Refusals'))).toBeGreaterThanOrEqual(1)
    expect(Number(await figure(page, 'API requests'))).toBeGreaterThanOrEqual(1)
    await page.getByRole('link', { name: 'Last day' }).click()
    await page.locator('[aria-current=page]', { hasText: 'Last day' }).waitFor()
    expect(Number(await figure(page, 'Logins'))).toBeGreaterThanOrEqual(1)
    expect(await page.getByRole('img').count()).toBe(6)
    const source = await page.content()
    expect(source).toContain(String(process.pid))
    expect(bed.demo.secrets().find(source)).toEqual([])
    expect(findJwts(source)).toEqual([])
  })

  it('says what a revocation would end, ends it when confirmed, and the SPA sees it', async () => {
    const spa = await bed.logIn()
    const page = await openOperations()
    await signIn(page)
    const sessions = Number(await figure(page, 'Live sessions'))
    await page.getByLabel('Value').fill('demo')
    await page.getByRole('button', { name: 'See what would end' }).click()
    const many = `${sessions} live ${sessions === 1 ? 'session' : 'sessions'}`
    expect(await page.getByTestId('dry-run').textContent()).toBe(`This would end ${many}.`)
    await callApi(spa)
    await page.getByRole('button', { name: `End ${many}` }).click()
    expect(await page.getByTestId('notice').textContent()).toContain('Done:')
    expect(await figure(page, 'Live sessions')).toBe('0')
    await spa.reload()
    await spa.getByTestId('login').waitFor()
    await page.reload()
    expect(await page.getByTestId('notice').count()).toBe(0)
    expect(await page.getByRole('table').filter({ hasText: 'revoked' }).count()).toBe(1)
  })

  it('has a policy that is in force', async () => {
    const page = await openOperations()
    await page.evaluate(() => document.body.setAttribute('style', 'color: red'))
    await until('the browser says so', () => violations.length > 0)
    expect(violations.splice(0).join()).toMatch(/style/i)
  })

  it('works with the keyboard alone, without script, and says what is wrong', async () => {
    const page = await openOperations(await bed.newContext({ javaScriptEnabled: false }))
    expect(await page.locator(':focus').getAttribute('name')).toBe('key')
    await page.keyboard.type(bed.demo.adminKey)
    await page.keyboard.press('Enter')
    await page.getByLabel('Value').focus()
    await page.keyboard.press('Enter')
    await page.getByRole('alert').filter({ hasText: 'sub' }).waitFor()
  })

  it('shows names as they were typed, and runs none of them', async () => {
    const page = await openOperations()
    await signIn(page)
    const hostile = `"><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`
    await page.getByLabel('Value').fill(hostile)
    await page.getByRole('button', { name: 'See what would end' }).click()
    await page.getByTestId('dry-run').waitFor()
    expect(await page.locator('strong', { hasText: 'onerror' }).textContent()).toBe(hostile)
    expect(await page.title()).toBe('Confirm · Token Handler')
    expect(await page.locator('script, img').count()).toBe(0)
  })

  it('is not to be used by other sites and by pages of other ports: no forms, no frames', async () => {
    const context = await bed.newContext()
    const page = await openOperations(context)
    await signIn(page)
    await page.getByTestId('actor').waitFor()
    const spa = await bed.open('/', context)
    await logIn(spa)
    const action = `${bed.demo.adminUrl}/operations`
    // Another port of the very same host: the same site, so the browser sends the Strict cookie.
    const foreign = createServer((req, res) => {
      res.setHeader('content-type', 'text/html')
      const frame = `<iframe src="${action}"></iframe>`
      const form = `<form method="post" action="${action}/revoke/confirm"><input name="target" value="all"><button>Win</button></form>`
      res.end(req.url === '/frame' ? frame : form)
    })
    await new Promise<void>((resolve) => foreign.listen(0, '127.0.0.1', resolve))
    try {
      const origin = `http://127.0.0.1:${(foreign.address() as AddressInfo).port}`
      const attacker = await context.newPage()
      await attacker.goto(origin)
      await attacker.getByRole('button', { name: 'Win' }).click()
      await attacker.getByRole('alert').waitFor()
      expect(await attacker.getByRole('alert').textContent()).toBe('This form was not sent from this page.')
      await callApi(spa)
      await attacker.goto(`${origin}/frame`)
      await until('the frame is refused', () => attacker.frames()[1]?.url() === 'chrome-error://chromewebdata/')
    } finally {
      foreign.close()
      foreign.closeAllConnections()
    }
  })
})
