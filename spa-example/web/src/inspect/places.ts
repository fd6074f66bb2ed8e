import { TokenHandlerClientError } from '@token-handler/client'
import { capabilities } from '../files.ts'
import { backendUrl, client } from '../session.ts'
import { readCaches, readDatabases, readStorage } from './storage.ts'

/** A place where a script could look for a token. */
export interface Place {
  /** Stable, for tests. */
  readonly id: string
  readonly name: string
  /** How the script looks. */
  readonly how: string
  /** All that there is to see, as text; the empty text when there is nothing. */
  readonly read: () => Promise<string>
}

/** Everywhere that script on this page can look. */
export const PLACES: readonly Place[] = [
  { id: 'document-cookie', name: 'Cookies', how: 'document.cookie', read: async () => document.cookie },
  { id: 'cookie-store', name: 'Cookie Store', how: 'cookieStore.getAll()', read: readCookieStore },
  { id: 'local-storage', name: 'Local storage', how: 'localStorage', read: async () => readStorage(localStorage) },
  {
    id: 'session-storage',
    name: 'Session storage',
    how: 'sessionStorage',
    read: async () => readStorage(sessionStorage),
  },
  { id: 'indexed-db', name: 'IndexedDB', how: 'indexedDB.databases()', read: readDatabases },
  { id: 'cache-storage', name: 'Cache Storage', how: 'caches.keys()', read: readCaches },
  answerOf('session', 'Agent: session', '/oauth-agent/session'),
  answerOf('me', 'API: who am I', '/api/me'),
  answerOf('orders', 'API: orders', '/api/orders'),
  {
    id: 'capability',
    name: 'Agent: capability',
    how: "capability('downloads')",
    read: readCapability,
  },
  {
    id: 'set-cookie',
    name: 'Set-Cookie headers',
    how: 'headers.getSetCookie()',
    read: async () => (await client.fetch(backendUrl('/oauth-agent/session'))).headers.getSetCookie().join('\n'),
  },
  {
    id: 'address',
    name: 'Address and history',
    how: 'location, referrer, history.state',
    read: async () => [location.href, document.referrer, JSON.stringify(history.state)].join('\n'),
  },
  { id: 'window-name', name: 'Window name', how: 'window.name', read: async () => window.name },
  {
    id: 'performance',
    name: 'Network timings',
    how: 'performance.getEntries()',
    read: async () => JSON.stringify(performance.getEntries().map(({ entryType, name }) => `${entryType} ${name}`)),
  },
  {
    id: 'document',
    name: 'The document',
    how: 'documentElement.outerHTML',
    read: async () => documentWithoutResults(),
  },
  { id: 'globals', name: 'Global variables', how: 'Object.entries(window)', read: async () => readGlobals() },
  { id: 'library', name: 'The library', how: 'client.current', read: async () => JSON.stringify(client.current) },
]

/** Headers and body of an answer, as script is given them. */
function answerOf(id: string, name: string, path: string): Place {
  const read = async (): Promise<string> => {
    const response = await client.fetch(backendUrl(path))
    const headers = [...response.headers].map(([header, value]) => `${header}: ${value}`)
    return [`${response.status}`, ...headers, '', await response.text()].join('\n')
  }
  return { id, name, how: `fetch('${path}')`, read }
}

async function readCapability(): Promise<string> {
  try {
    return JSON.stringify((await capabilities.capability('downloads', { file: 'example.txt' })).answer)
  } catch (error) {
    // An installation without a storage issues none.
    if (error instanceof TokenHandlerClientError && error.status === 404) return ''
    throw error
  }
}

async function readCookieStore(): Promise<string> {
  // Not in every browser.
  if (!('cookieStore' in window)) return ''
  const cookies = await window.cookieStore.getAll()
  return cookies.map(({ name, value }) => `${name}=${value}`).join('\n')
}

/** The results of the last run quote what was found elsewhere. */
function documentWithoutResults(): string {
  const copy = document.documentElement.cloneNode(true) as HTMLElement
  for (const results of copy.querySelectorAll('[data-results]')) results.remove()
  return copy.outerHTML
}

function readGlobals(): string {
  const texts = Object.entries(window as unknown as Record<string, unknown>).flatMap(([name, value]) =>
    typeof value === 'string' ? [`${name}: ${value}`] : [],
  )
  return texts.join('\n')
}
