import { CookieJar } from './cookie-jar.ts'
import { signIn } from './sign-in.ts'

/** An answer, read to its end. */
export interface BrowserAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The answer as JSON; throws when it is none. */
  readonly json: () => Record<string, unknown>
}

/** A browser without scripts on the SPA's page: it keeps cookies as browsers do, and calls agent and API as the library does. */
export class SessionBrowser {
  readonly jar: CookieJar
  readonly #spaOrigin: string
  readonly #backend: string

  /** @param backend Origin of agent and proxy; the SPA's own unless given. */
  constructor(
    spaOrigin: string,
    { backend = spaOrigin, jar = new CookieJar() }: { backend?: string; jar?: CookieJar } = {},
  ) {
    this.#spaOrigin = spaOrigin
    this.#backend = backend
    this.jar = jar
  }

  /** Runs the whole login. @returns The answer of `login/end`, whatever it is. */
  async logIn(): Promise<BrowserAnswer> {
    const started = await this.call('POST', '/oauth-agent/login/start')
    const authorizationUrl = String(started.json()['authorization_url'])
    const callback = await signIn({ authorizationUrl, redirectUri: `${this.#spaOrigin}/callback` })
    return this.call('POST', '/oauth-agent/login/end', callback.searchParams)
  }

  async call(method: string, path: string, body?: URLSearchParams | string): Promise<BrowserAnswer> {
    const url = new URL(path, this.#backend)
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        origin: this.#spaOrigin,
        'token-handler-version': '1',
        cookie: this.jar.header(url),
        ...(typeof body === 'string' ? { 'content-type': 'application/json' } : {}),
      },
      ...(body === undefined ? {} : { body }),
    })
    this.jar.store(url, response.headers.getSetCookie())
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: () => JSON.parse(text) as Record<string, unknown>,
    }
  }
}
