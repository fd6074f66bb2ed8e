import { afterAll, afterEach, beforeAll } from '@jest/globals'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { launchBrowser } from '../support/browser.ts'
import { startTestDemo, type TestDemo, type TestDemoOptions } from '../support/demo.ts'

/** The demo and a browser a file, and fresh browser contexts a test. */
export interface DemoBed {
  readonly demo: TestDemo
  readonly browser: Browser
  /** A browser of its own: no cookies, no storage, nothing shared with another context. */
  newContext(options?: BrowserContextOptions): Promise<BrowserContext>
  /** A tab on a path of the demo. */
  open(path?: string, context?: BrowserContext): Promise<Page>
  /** A tab of a new context that has logged in. */
  logIn(): Promise<Page>
}

const patienceMs = 15_000

export function useDemo(options?: TestDemoOptions): DemoBed {
  let browser: Browser | undefined
  let demo: TestDemo | undefined
  const contexts: BrowserContext[] = []
  beforeAll(async () => {
    ;[browser, demo] = await Promise.all([launchBrowser(), startTestDemo(options)])
  }, 60_000)
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()))
  })
  afterAll(async () => {
    await browser?.close()
    await demo?.close()
  })

  async function newContext(contextOptions?: BrowserContextOptions): Promise<BrowserContext> {
    const context = await present(browser).newContext(contextOptions)
    context.setDefaultTimeout(patienceMs)
    contexts.push(context)
    return context
  }
  async function open(path = '/', context?: BrowserContext): Promise<Page> {
    const page = await (context ?? (await newContext())).newPage()
    await page.goto(present(demo).url + path)
    return page
  }
  return {
    get demo() {
      return present(demo)
    },
    get browser() {
      return present(browser)
    },
    newContext,
    open,
    async logIn() {
      const page = await open()
      await logIn(page)
      return page
    },
  }
}

/** From the SPA's login button to the SPA with a session. */
export async function logIn(page: Page): Promise<void> {
  await page.getByTestId('login').click()
  await submitCredentials(page)
  await page.getByTestId('logout').waitFor()
}

/** At the authorization server's sign-in page. */
export async function submitCredentials(page: Page, password = 'demo'): Promise<void> {
  await page.locator('input[name=login]').fill('demo')
  await page.locator('input[name=password]').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

/** From the SPA's logout button, past the authorization server's question, to the SPA without a session. */
export async function logOut(page: Page): Promise<void> {
  await page.getByTestId('logout').click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByTestId('welcome').waitFor()
}

/** Asks the API through the overview's button, and waits for its answer. */
export async function callApi(page: Page): Promise<void> {
  const answered = page.waitForResponse((response) => response.url().endsWith('/api/me') && response.ok())
  await page.getByTestId('call-me').click()
  await answered
}

function present<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('only within a test')
  return part
}
