import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { json } from './scripted-agent.ts'
import { useTestBed } from './test-page.ts'

const bed = useTestBed()
const REFRESH = 'POST /oauth-agent/refresh'
const POLL = '/api/poll'

/** Of every refresh so far, whether it said that nobody did anything. */
const background = (): boolean[] =>
  bed.server.receivedAt(REFRESH).map(({ headers }) => headers['token-handler-background'] === '1')

const poll = (page: Page): Promise<number> =>
  page.evaluate(async () => (await window.client.fetch('/api/poll', { background: true })).status)
const act = (page: Page): Promise<number> =>
  page.evaluate(async () => (await window.client.fetch('/api/orders')).status)

/** A call in need of a refresh. */
async function refreshed(call: (page: Page) => Promise<number>, page: Page): Promise<void> {
  bed.server.agent.expireAccessToken()
  expect(await call(page)).toBe(200)
}

describe('a refresh that a call brings about', () => {
  let page: Page
  beforeEach(async () => {
    page = await bed.logIn()
  })

  it('says that nobody did anything when all calls since the one before were marked', async () => {
    await refreshed(poll, page)
    await refreshed(act, page)
    await refreshed(poll, page)
    await act(page)
    await refreshed(poll, page)
    await refreshed(poll, page)
    expect(background()).toEqual([true, false, true, false, true])
  })

  it('knows what was done in other tabs', async () => {
    const other = await bed.open()
    await other.evaluate(() => window.client.session())
    await page.evaluate(() => {
      const channel = new BroadcastChannel(`token-handler/1:${location.origin}/oauth-agent//activity`)
      const heard: unknown[] = []
      channel.addEventListener('message', ({ data }) => heard.push(data))
      Object.assign(window, { heard })
    })
    await act(other)
    await page.waitForFunction(() => (window as unknown as { heard: unknown[] }).heard.includes(true))
    await refreshed(poll, page)
    await refreshed(poll, other)
    expect(background()).toEqual([false, true])
  })

  it('says it again when the one before failed', async () => {
    let answers = 0
    bed.server.script(REFRESH, () => (answers++ === 0 ? json(503, { error_code: 'refresh_pending' }) : undefined))
    bed.server.agent.expireAccessToken()
    await page.evaluate(() => window.client.fetch('/api/orders').catch(() => undefined))
    await refreshed(poll, page)
    expect(background()).toEqual([false, false])
  })

  it('goes by what the proxy says about the route, once it said so', async () => {
    bed.server.script(`GET ${POLL}`, ({ headers }) =>
      String(headers['cookie']).includes('th-at-x') ? answeredByRoute() : undefined,
    )
    const callRoute = (at: Page): Promise<number> =>
      at.evaluate(async () => (await window.client.fetch('/api/poll?since=1')).status)
    await callRoute(page)
    await page.evaluate(() => window.client.refresh())
    await callRoute(page)
    await page.evaluate(() => window.client.refresh({ background: true }))
    expect(background()).toEqual([false, true])
  })

  it('is activity when the page asks for it, unless it says otherwise', async () => {
    await page.evaluate(() => window.client.refresh())
    await page.evaluate(() => window.client.refresh({ background: true }))
    expect(background()).toEqual([false, true])
  })

  it('is none of the business of a client that is closed, whose calls go on', async () => {
    const status = await page.evaluate(async () => {
      window.client.close()
      return (await window.client.fetch('/api/orders')).status
    })
    expect(status).toBe(200)
  })

  it('counts what is sent through a WebSocket, and not what is listened to', async () => {
    const send = (options: { background?: boolean }): Promise<boolean> =>
      page.evaluate(
        (given) =>
          new Promise<boolean>((resolve) => {
            const stream = window.library.webSocket(window.client, '/api/feed', {
              onMessage: () => undefined,
              onState: ({ status }) => {
                if (status === 'open') resolve(stream.send('hello', given))
              },
            })
          }),
        options,
      )
    expect(await send({ background: true })).toBe(true)
    await page.evaluate(() => window.client.refresh({ background: true }))
    expect(await send({})).toBe(true)
    await page.evaluate(() => window.client.refresh({ background: true }))
    expect(background()).toEqual([true, false])
  })
})

function answeredByRoute(): ReturnType<typeof json> {
  return json(200, {}, [], { 'token-handler-background': '1' })
}
