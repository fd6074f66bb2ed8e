import { hostname } from 'node:os'
import { expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { take, viewport, whole } from './pictures.ts'
import { callApi, logIn, useDemo } from './support.ts'

const bed = useDemo()

/** Reads the figures so many minutes from now, as an operator's browser does. Only that: the others have one clock. */
async function lookAtOperations(minutes: number): Promise<void> {
  bed.demo.clock.advanceSeconds(minutes * 60)
  const { adminUrl, adminKey } = bed.demo
  const login = await fetch(`${adminUrl}/operations/login`, {
    method: 'POST',
    redirect: 'manual',
    headers: { origin: adminUrl },
    body: new URLSearchParams({ key: adminKey }),
  })
  const [cookie = ''] = (login.headers.get('set-cookie') ?? '').split(';')
  await fetch(`${adminUrl}/operations`, { headers: { cookie } })
  bed.demo.clock.advanceSeconds(minutes * -60)
}

async function refresh(page: Page): Promise<void> {
  const status = await page.evaluate(async () => {
    const headers = { 'token-handler-version': '1' }
    return (await fetch('/oauth-agent/refresh', { method: 'POST', headers })).status
  })
  expect(status).toBe(200)
}

/** All of it is to be seen. */
const height = 1120

/** Requests that are refused, more of them in some minutes than in others. */
const refused = ['/api/me', '/api/unknown', '/oauth-agent/session', '/api/orders', '/api/me']

it('the operations page, in light and dark, and what a revocation would end', async () => {
  const users: Page[] = []
  for (let minute = 0; minute < 55; minute++) {
    if (minute % 14 === 0) {
      const page = await bed.open()
      await logIn(page)
      users.push(page)
    }
    const user = users[(minute * 5) % users.length]
    if (user !== undefined && minute % 2 === 0) await callApi(user)
    if (user !== undefined && minute % 5 === 4) await refresh(user)
    for (const path of refused.slice(0, (minute * minute) % 6)) await fetch(bed.demo.url + path)
    await lookAtOperations(minute)
  }
  for (const user of users.slice(1)) {
    await user.getByTestId('nav-live').click()
    await user.locator('[data-testid=sse-state][data-status=open]').waitFor()
  }
  const status = await users[0]?.evaluate(async () => {
    const headers = { 'token-handler-version': '1' }
    return (await fetch('/oauth-agent/logout', { method: 'POST', headers })).status
  })
  expect(status).toBe(200)
  bed.demo.clock.advanceSeconds(55 * 60)
  const context = await bed.newContext({
    viewport: { ...viewport, height },
    locale: 'en-GB',
    colorScheme: 'light',
    reducedMotion: 'reduce',
  })
  const page = await context.newPage()
  await page.goto(`${bed.demo.adminUrl}/operations`)
  await page.getByLabel('Admin key').fill(bed.demo.adminKey)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByTestId('actor').waitFor()
  await until('the process tells of itself', async () => {
    const found = await bed.demo.tokenHandler.ledger.directory.replicas()
    return found.state === 'found' && found.replicas.length > 0
  })
  await page.reload()
  // The machine's own name belongs into no picture.
  await page.evaluate((host) => {
    for (const cell of document.querySelectorAll('td')) {
      if (cell.textContent.startsWith(host)) cell.textContent = cell.textContent.replace(host, 'host-1')
    }
  }, hostname())
  expect(await take(page, 'operations')).toEqual({ ...whole, height })
  await page.emulateMedia({ colorScheme: 'dark' })
  expect(await take(page, 'operations-dark')).toEqual({ ...whole, height })
  await page.emulateMedia({ colorScheme: 'light' })
  await page.getByLabel('Value').fill('demo')
  await page.getByLabel('Reason').fill('incident-42')
  await page.getByRole('button', { name: 'See what would end' }).click()
  await page.getByTestId('dry-run').waitFor()
  await page.setViewportSize({ ...viewport, height: 480 })
  expect(await take(page, 'operations-dry-run')).toEqual({ ...whole, height: 480 })
}, 60_000)
