import type { BrowserContext, Page, Request } from 'playwright-core'

/** Everything that somebody who looks over a browser's shoulder could read, by the place where it was. */
export type Places = Readonly<Record<string, readonly string[]>>

/** Records what a browser context gets and says from now on. */
export interface BrowserTrace {
  /** All that was recorded, and what lies about in the open tabs and their storage. */
  places(): Promise<Places>
}

export function traceBrowser(context: BrowserContext): BrowserTrace {
  const urls: string[] = []
  const headers: string[] = []
  const bodies: Promise<string>[] = []
  const messages: string[] = []
  context.on('request', (request) => {
    urls.push(request.url(), request.headers()['referer'] ?? '')
  })
  context.on('response', (response) => {
    headers.push(JSON.stringify(response.headers()))
  })
  // Of answers that were cut off there is no body to wait for.
  context.on('requestfinished', (request) => {
    if (!isAsset(request.url())) bodies.push(bodyOf(request))
  })
  context.on('console', (message) => messages.push(message.text()))
  context.on('weberror', (error) => messages.push(String(error.error().stack)))
  context.on('page', (page) => {
    page.on('framenavigated', (frame) => urls.push(frame.url()))
  })
  return {
    async places() {
      const tabs = await Promise.all(context.pages().map(readTab))
      return { urls, headers, bodies: await Promise.all(bodies), console: messages, ...merge(tabs) }
    },
  }
}

/** Files of the build are older than every secret. */
function isAsset(url: string): boolean {
  return new URL(url).pathname.startsWith('/assets/')
}

/** Redirects have none, and the browser forgets those of a page that was left; what the server sent is looked at as well. */
async function bodyOf(request: Request): Promise<string> {
  const response = await request.response()
  return (await response?.text().catch(() => '')) ?? ''
}

async function readTab(page: Page): Promise<Places> {
  const devtools = await page.context().newCDPSession(page)
  const { entries } = await devtools.send('Page.getNavigationHistory')
  return { history: entries.map(({ url }) => url), ...(await page.evaluate(readFromInside)) }
}

/** Runs in the page. */
async function readFromInside(): Promise<Record<string, string[]>> {
  const settled = <T>(request: IDBRequest<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      request.addEventListener('success', () => resolve(request.result))
      request.addEventListener('error', () => reject(request.error ?? new Error('IndexedDB failed')))
    })
  const records: string[] = []
  for (const { name } of await indexedDB.databases()) {
    if (name === undefined) continue
    const database = await settled(indexedDB.open(name))
    for (const store of database.objectStoreNames) {
      records.push(JSON.stringify(await settled(database.transaction(store).objectStore(store).getAll())))
    }
    database.close()
  }
  const cached: string[] = []
  for (const name of await caches.keys()) {
    const cache = await caches.open(name)
    for (const request of await cache.keys()) {
      cached.push(request.url, (await (await cache.match(request))?.text()) ?? '')
    }
  }
  return {
    localStorage: [JSON.stringify(localStorage)],
    sessionStorage: [JSON.stringify(sessionStorage)],
    indexedDB: records,
    cacheStorage: cached,
    cookies: [document.cookie],
    document: [document.documentElement.outerHTML],
    window: [window.name, JSON.stringify(history.state), document.referrer, location.href],
    performance: performance.getEntries().map(({ name }) => name),
  }
}

function merge(tabs: readonly Places[]): Places {
  const merged: Record<string, string[]> = {}
  for (const tab of tabs) for (const [name, texts] of Object.entries(tab)) (merged[name] ??= []).push(...texts)
  return merged
}
