import type { CookieSettings, KeyContext } from '@token-handler/shared'

/** The site that every contender serves: one public origin, one client, APIs under `/api`. */
export const publicOrigin = 'https://www.example.com'
export const keyContext: KeyContext = { issuer: 'https://login.example.com', clientId: 'spa' }

export const cookieSettings: CookieSettings = {
  prefix: 'th',
  accessTokenPath: '/api',
  agentPath: '/oauth-agent',
  persistent: true,
  headerBudgetBytes: 8192,
  responseBudgetBytes: 8192,
}

/** The upstream streams from here, and swallows what is sent here. */
export const filesPath = '/api/files'

const apis = ['orders', 'customers', 'products', 'invoices', 'payments', 'users/me', 'reports', 'search', 'messages']

/** Public paths of a route table of `count` routes, nested as in life; {@link filesPath} is always one of them. */
export function routePaths(count: number): string[] {
  const names = Array.from({ length: count - 1 }, (_, index) => {
    const generation = Math.floor(index / apis.length)
    const api = apis[index % apis.length] ?? ''
    return generation === 0 ? `/api/${api}` : `/api/team-${generation}/${api}`
  })
  return [...names, filesPath]
}
