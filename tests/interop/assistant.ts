import { trustedOrigin } from '../oauth-agent/running-agent.ts'
import type { CookieJar } from '../support/cookie-jar.ts'

/** What the SPA of that library is told when the agent refuses. */
export class RemoteError extends Error {
  readonly status: number
  readonly code: string
  readonly details: string | undefined

  constructor(status: number, code: string, details: string | undefined) {
    super(code)
    this.status = status
    this.code = code
    this.details = details
  }
}

interface SessionView {
  readonly isLoggedIn: boolean | undefined
  readonly idTokenClaims: Readonly<Record<string, unknown>> | null | undefined
  readonly accessTokenExpiresIn: number | undefined
}

/**
 * Behaves on the wire as Curity's JavaScript assistant for token handlers does: the same bodies and content types, the same
 * narrow reading of answers, the same choice on page load. Written from its observable behaviour.
 */
export class Assistant {
  readonly #base: URL
  readonly #jar: CookieJar

  constructor(base: URL, jar: CookieJar) {
    this.#base = new URL(base.href.endsWith('/') ? base.href : `${base.href}/`)
    this.#jar = jar
  }

  async startLogin(extra: Record<string, string> = {}): Promise<string> {
    return String((await this.#call('POST', 'login/start', new URLSearchParams(extra)))['authorization_url'])
  }

  async endLogin(search: URLSearchParams): Promise<SessionView> {
    return view(await this.#call('POST', 'login/end', new URLSearchParams(search)))
  }

  async session(): Promise<SessionView> {
    return view(await this.#call('GET', 'session'))
  }

  async refresh(extra: Record<string, string> = {}): Promise<number | undefined> {
    const answer = await this.#call('POST', 'refresh', new URLSearchParams(extra))
    return answer['access_token_expires_in'] as number | undefined
  }

  async logout(): Promise<string | undefined> {
    return (await this.#call('POST', 'logout'))['logout_url'] as string | undefined
  }

  /** `login/end` for what looks like an authorization response, else `session`. */
  async onPageLoad(pageUrl: string): Promise<SessionView> {
    const { searchParams } = new URL(pageUrl)
    const isResponse =
      (searchParams.has('state') && (searchParams.has('code') || searchParams.has('error'))) ||
      (searchParams.has('response') && searchParams.size === 1)
    return isResponse ? this.endLogin(searchParams) : this.session()
  }

  async #call(method: string, path: string, body?: URLSearchParams): Promise<Record<string, unknown>> {
    const url = new URL(path, this.#base)
    const cookie = this.#jar.header(url.href)
    const response = await fetch(url, {
      method,
      headers: {
        accept: 'application/json',
        'token-handler-version': '1',
        // What a browser adds by itself.
        origin: trustedOrigin,
        ...(cookie === '' ? {} : { cookie }),
        // With an empty set of parameters the browser names the charset, and sends nothing.
        ...(body !== undefined && body.size > 0 ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
      },
      ...(body === undefined ? {} : { body }),
    })
    this.#jar.store(url.href, response.headers.getSetCookie())
    if (response.ok) return (await response.json()) as Record<string, unknown>
    if (response.headers.get('content-type') !== 'application/json') {
      throw new RemoteError(response.status, 'server_error', undefined)
    }
    const error = (await response.json()) as { error_code: string; detailed_error?: string }
    throw new RemoteError(response.status, error.error_code, error.detailed_error)
  }
}

function view(answer: Record<string, unknown>): SessionView {
  return {
    isLoggedIn: answer['is_logged_in'] as boolean | undefined,
    idTokenClaims: answer['id_token_claims'] as SessionView['idTokenClaims'],
    accessTokenExpiresIn: answer['access_token_expires_in'] as number | undefined,
  }
}
