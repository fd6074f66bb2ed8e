import { createAgent } from './agent.ts'
import { createApiFetch } from './api-fetch.ts'
import { endLogin, hasAuthorizationResponse, startLogin, takeReturnTo } from './login.ts'
import { navigableUrl, sameOriginPath } from './navigation.ts'
import { createRefreshLock } from './refresh-lock.ts'
import { createRefresher } from './refresh.ts'
import { createSessionStore, type SessionListener } from './session-store.ts'
import { parseSession, type Session } from './session.ts'

export interface TokenHandlerClientOptions {
  /** Base URL of the OAuth Agent, relative to the page or absolute. Default `/oauth-agent`. */
  readonly agentUrl?: string | URL
  /** Origins besides the page's own that `fetch` may call with the session, e.g. `https://api.example.com`. */
  readonly apiOrigins?: readonly string[]
  /** Where the callback page goes when no path was remembered. Default `/`. */
  readonly defaultReturnTo?: string
  /** Where `logout` goes when the authorization server has no end-session endpoint. Default `/`. */
  readonly postLogoutPath?: string
  /** How long to wait for the agent, in milliseconds. Default 20000; a refresh may rightly take 8 s. */
  readonly timeoutMs?: number
}

export interface LoginOptions {
  /** A path of this origin to return to; anything else is ignored. Default: the current page. */
  readonly returnTo?: string
  /** Sent along to `login/start`, e.g. `scope`, `prompt`, `login_hint`; the agent keeps an allow-list. */
  readonly authorizationParameters?: Readonly<Record<string, string>>
}

export interface CallbackOptions {
  /** Go to the remembered path afterwards. Default true. */
  readonly navigate?: boolean
}

export interface LogoutOptions {
  /** Leave the page afterwards. Default true. */
  readonly navigate?: boolean
  /** End the session at the authorization server too (OpenID Connect RP-Initiated Logout). Default true. */
  readonly authorizationServer?: boolean
}

/** One page's view of the session. No token ever passes through it. */
export interface TokenHandlerClient {
  /** What is known without asking; undefined before the first answer. */
  readonly current: Session | undefined
  /** Asks the agent who is logged in. Simultaneous calls share one request. */
  session(): Promise<Session>
  /** Leaves the page for the authorization server. */
  login(options?: LoginOptions): Promise<void>
  /**
   * For the callback page: completes the login, removes the query from the address, and goes to the remembered path.
   * Without an authorization response in the address it only answers the session.
   * @throws CookiesNotStoredError when the login succeeded but the browser did not keep its cookies
   */
  handleCallback(options?: CallbackOptions): Promise<Session>
  /** Refreshes now, however young the access token. Simultaneous calls share one refresh. */
  refresh(): Promise<Session>
  /** Ends the session in all tabs. @returns the authorization server's end-session URL, if there is one */
  logout(options?: LogoutOptions): Promise<string | undefined>
  /**
   * `fetch` with the session, for this origin and `apiOrigins`. Refreshes once for all tabs when needed, and repeats the
   * request with its body. Answers of the API, errors too, and network errors come back as from `fetch` itself.
   * @throws SessionEndedError log in again; TemporaryError try later; TokenHandlerClientError `origin_not_allowed`,
   *   `body_not_repeatable` (the body is a stream)
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>
  /** Hears of every change of the session, in other tabs too. @returns ends the subscription */
  on(event: 'session', listener: SessionListener): () => void
  /** Ends all subscriptions and the connection to other tabs. */
  close(): void
}

/** The client of one OAuth Agent. Makes no request by itself. */
export function createTokenHandlerClient(options: TokenHandlerClientOptions = {}): TokenHandlerClient {
  const base = new URL(options.agentUrl ?? '/oauth-agent', location.href)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  const name = `token-handler/1:${base.origin}${base.pathname}`
  const agent = createAgent(base, options.timeoutMs ?? 20_000)
  const store = createSessionStore(name)
  const apiOrigins = new Set([location.origin, ...(options.apiOrigins ?? []).map((origin) => new URL(origin).origin)])
  let asking: Promise<Session> | undefined
  let callback: Promise<Session> | undefined

  const ask = async (): Promise<Session> => {
    const { epoch } = store
    const askedAt = performance.now()
    const session = parseSession(await agent.get('session'))
    // Something happened while the answer was on its way, which may be from before.
    if (epoch !== store.epoch || store.renewedAt > askedAt) return store.current ?? session
    store.learn(session)
    return session
  }
  const session = (): Promise<Session> => {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }
  const complete = async (navigate: boolean): Promise<Session> => {
    const completed = await endLogin({ agent, store })
    if (navigate) location.replace(takeReturnTo() ?? sameOriginPath(options.defaultReturnTo) ?? '/')
    return completed
  }
  const refresher = createRefresher({ agent, store, lock: createRefreshLock(name), ask })

  return {
    get current() {
      return store.current
    },
    session,
    refresh: () => refresher.refresh(),
    fetch: createApiFetch({ store, refresher, apiOrigins }),
    async login({ returnTo, authorizationParameters = {} } = {}) {
      const here = location.pathname + location.search + location.hash
      location.assign(await startLogin({ agent }, returnTo ?? here, authorizationParameters))
    },
    async handleCallback({ navigate = true } = {}) {
      // React calls effects twice in development: the second call waits for the first, the query being gone.
      if (hasAuthorizationResponse(location.search)) callback = complete(navigate)
      return callback ?? session()
    },
    async logout({ navigate = true, authorizationServer = true } = {}) {
      const answer = await agent.post('logout', undefined, true)
      store.end('logout')
      const end = answer['logout_url']
      const logoutUrl = end === undefined ? undefined : navigableUrl(end, agent.baseUrl)
      if (navigate) {
        location.assign((authorizationServer && logoutUrl) || (sameOriginPath(options.postLogoutPath) ?? '/'))
      }
      return logoutUrl
    },
    on: (_event, listener) => store.subscribe(listener),
    close: () => store.close(),
  }
}
