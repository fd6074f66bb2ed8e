import type { CookieJar } from '../support/cookie-jar.ts'
import type { BrowserRequests } from './browser-request.ts'

/** Logs a browser in at an agent. @returns Whether the jar has a session now. */
export type LogIn = (jar: CookieJar, agent: number) => Promise<boolean>

const startPath = '/oauth-agent/login/start'
const endPath = '/oauth-agent/login/end'

/** @param authorize What user and authorization server make of an authorization request: the authorization response. */
export function createLogIn(requests: BrowserRequests, authorize: (url: string) => Promise<URL>): LogIn {
  return async (jar, agent) => {
    const { origin } = requests
    const cookie = jar.header(origin + startPath)
    const started = await requests.ask({ agent, method: 'POST', path: startPath, cookie, body: new URLSearchParams() })
    if (started.outcome !== 'answer' || started.status !== 200) return false
    jar.store(origin + startPath, started.setCookies)
    const response = await authorize(String(started.json['authorization_url']))
    const ended = await requests.ask({
      agent,
      method: 'POST',
      path: endPath,
      cookie: jar.header(origin + endPath),
      body: response.searchParams,
    })
    if (ended.outcome !== 'answer') return false
    jar.store(origin + endPath, ended.setCookies)
    return ended.status === 200
  }
}
