import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import type * as Library from '@token-handler/client'
import type * as Capabilities from '@token-handler/client/capabilities'
import type * as StepUp from '@token-handler/client/step-up'
import type * as Streams from '@token-handler/client/streams'
import { launchBrowser } from '../support/browser.ts'
import { startScriptedServer, type ScriptedServer } from './scripted-server.ts'

declare global {
  interface Window {
    library: typeof Library & typeof Capabilities & typeof StepUp & typeof Streams
    client: Library.TokenHandlerClient
    changes: Library.SessionChange[]
  }
}

/** A browser a file, and a server and a browser context a test. */
export interface TestBed {
  readonly server: ScriptedServer
  readonly context: BrowserContext
  readonly browser: Browser
  /** A tab with the library in it, on a path of the page's origin. */
  open(path?: string): Promise<Page>
  /** A tab with a session, which it has asked for once. */
  logIn(): Promise<Page>
  /** The same by way of the authorization server and the callback page. */
  logInThroughPages(): Promise<Page>
}

export function useTestBed(): TestBed {
  let browser: Browser | undefined
  let context: BrowserContext | undefined
  let server: ScriptedServer | undefined
  beforeAll(async () => {
    browser = await launchBrowser()
  })
  beforeEach(async () => {
    server = await startScriptedServer()
    context = await browser?.newContext()
  })
  afterEach(async () => {
    await context?.close()
    await server?.close()
  })
  afterAll(async () => {
    await browser?.close()
  })
  const present = <T>(part: T | undefined): T => {
    if (part === undefined) throw new Error('only within a test')
    return part
  }
  const open = (path = '/'): Promise<Page> => openPage(present(context), present(server).origin + path)
  return {
    get server() {
      return present(server)
    },
    get context() {
      return present(context)
    },
    get browser() {
      return present(browser)
    },
    open,
    async logIn() {
      const page = await open()
      await page.evaluate(async () => {
        for (const call of ['start', 'end']) {
          await fetch(`/oauth-agent/login/${call}`, { method: 'POST', headers: { 'token-handler-version': '1' } })
        }
        await window.client.session()
      })
      return page
    },
    async logInThroughPages() {
      const page = await open()
      // The page may be left before it can say that it is; where the login fails, nothing below is found.
      await page.evaluate(() => window.client.login()).catch(() => undefined)
      await page.waitForURL((url) => url.pathname === '/' && url.search === '')
      await ready(page)
      await page.evaluate(() => window.client.session())
      return page
    },
  }
}

/** Opens a page and waits for the library in it; `window.changes` collects its session events. */
export async function openPage(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(url)
  await ready(page)
  return page
}

async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => 'client' in window)
  await page.evaluate(() => {
    window.changes = []
    window.client.on('session', (change) => window.changes.push(change))
  })
}

/** What a call in the page throws: its class and fields, or undefined when it does not throw. */
export function failureOf(page: Page, call: () => Promise<unknown>): Promise<Record<string, unknown> | undefined> {
  return page.evaluate(async (source) => {
    try {
      // The function comes from the test as text, as Playwright's own arguments do.
      await (window.eval(`(${source})`) as () => Promise<unknown>)()
      return undefined
    } catch (error) {
      if (!(error instanceof Error)) return { thrown: error }
      const { name, code, status, retryAfterSeconds, reason, ...more } = error as unknown as Record<string, unknown>
      const { acrValues, maxAge, storageCode, isExpired } = more
      return { name, code, status, retryAfterSeconds, reason, acrValues, maxAge, storageCode, isExpired }
    }
  }, call.toString())
}
