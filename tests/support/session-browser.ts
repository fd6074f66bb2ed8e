import type { LookupFunction } from 'node:net'
import { Agent, fetch } from 'undici'
import { CookieJar } from './cookie-jar.ts'
import { signIn } from './sign-in.ts'

/** An answer, read to its end. */
export interface BrowserAnswer {
  readonly status: number
  readonly headers: { get(name: string): string | null; getSetCookie(): string[] }
  readonly text: string
  /** The answer as JSON; throws when it is none. */
  readonly json: () => Record<string, unknown>
}

/** A browser without scripts on the SPA's page: it keeps cookies as browsers do, and calls agent and API as the library does. */
export class SessionBrowser {
  readonly jar: CookieJar
  readonly #spaOrigin: string
  readonly #backend: string
  readonly #dispatcher: Agent

  /**
   * @param options.backend Origin of agent and proxy. Default: the SPA's own.
   * @param options.authority PEM of the authority to trust besides the system's.
   */
  constructor(
    spaOrigin: string,
    {
      backend = spaOrigin,
      authority,
      jar = new CookieJar(),
    }: { backend?: string; authority?: string | undefined; jar?: CookieJar } = {},
  ) {
    this.#spaOrigin = spaOrigin
    this.#backend = backend
    this.jar = jar
    // Browsers know that every name under localhost is this machine (RFC 6761 section 6.3); Node asks the system.
    const connect = {
      ...(authority === undefined ? {} : { ca: authority }),
      ...(isUnderLocalhost(backend) ? { lookup: loopback } : {}),
    }
    this.#dispatcher = new Agent({ connect })
  }

  /** Runs the whole login. @returns The answer of `login/end`, whatever it is. */
  async logIn(): Promise<BrowserAnswer> {
    return this.call('POST', '/oauth-agent/login/end', new URL(await this.authorize()).searchParams)
  }

  /** Runs a login up to the authorization response. @returns The redirect URI with `code` and `state`; it is not requested. */
  async authorize(): Promise<string> {
    const started = await this.call('POST', '/oauth-agent/login/start')
    const authorizationUrl = String(started.json()['authorization_url'])
    return (await signIn({ authorizationUrl, redirectUri: `${this.#spaOrigin}/callback` })).href
  }

  async call(method: string, path: string, body?: URLSearchParams | string): Promise<BrowserAnswer> {
    const url = new URL(path, this.#backend)
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      dispatcher: this.#dispatcher,
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

function isUnderLocalhost(origin: string): boolean {
  return new URL(origin).hostname.endsWith('.localhost')
}

const loopback: LookupFunction = (_hostname, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}
