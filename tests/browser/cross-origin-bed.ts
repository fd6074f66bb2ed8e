import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { afterAll, afterEach, beforeAll } from '@jest/globals'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { launchBrowser } from '../support/browser.ts'
import { trustSwitch } from '../support/certificates.ts'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { startForeignSite, type ForeignSite } from './foreign-site.ts'
import { logIn } from './support.ts'

export interface CrossOriginBed {
  readonly demo: TestDemo
  /** Serves `https://other.example.localhost`, a sibling of SPA and agent, and `https://evil.test`. */
  readonly foreign: ForeignSite
  /** Headers of the WebSocket handshakes at agent and proxy. */
  readonly handshakes: readonly IncomingHttpHeaders[]
  /** A browser of its own, until the end of the test. */
  newContext(options?: BrowserContextOptions): Promise<BrowserContext>
  /** A tab of a new context that has logged in, until the end of the test. */
  logIn(options?: BrowserContextOptions): Promise<Page>
  /** The same, until the end of the file. */
  logInForAll(): Promise<Page>
}

export const sibling = 'other.example.localhost'
export const stranger = 'evil.test'

const patienceMs = 15_000

/** The demo as `npm start -- --https` runs it, foreign sites, and a browser that trusts exactly their certificates. */
export function useCrossOriginDemo(): CrossOriginBed {
  let demo: TestDemo
  let foreign: ForeignSite
  let browser: Browser
  const handshakes: IncomingHttpHeaders[] = []
  const contexts: BrowserContext[] = []
  const opened: { close(): Promise<void> }[] = []

  beforeAll(async () => {
    demo = await startTestDemo({ topology: 'cross-origin' })
    opened.push(demo)
    demo.tokenHandler.server.prependListener('upgrade', ({ headers }) => handshakes.push(headers))
    foreign = await startForeignSite([sibling, stranger])
    opened.push(foreign)
    const authorities = [readFileSync(demo.authorityFile ?? '', 'utf8'), foreign.authority]
    browser = await launchBrowser({
      args: [trustSwitch(authorities), `--host-resolver-rules=MAP ${stranger} 127.0.0.1`],
    })
    opened.push(browser)
  }, 60_000)
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()))
    handshakes.length = 0
  })
  afterAll(async () => {
    for (const part of opened.toReversed()) await part.close()
  })

  async function openContext(options?: BrowserContextOptions): Promise<BrowserContext> {
    const context = await browser.newContext(options)
    context.setDefaultTimeout(patienceMs)
    return context
  }
  async function newContext(options?: BrowserContextOptions): Promise<BrowserContext> {
    const context = await openContext(options)
    contexts.push(context)
    return context
  }
  async function logInWith(context: BrowserContext): Promise<Page> {
    const page = await context.newPage()
    await page.goto(demo.url)
    await logIn(page)
    return page
  }
  return {
    get demo() {
      return demo
    },
    get foreign() {
      return foreign
    },
    handshakes,
    newContext,
    logIn: async (options) => logInWith(await newContext(options)),
    async logInForAll() {
      const context = await openContext()
      opened.push(context)
      return logInWith(context)
    },
  }
}
