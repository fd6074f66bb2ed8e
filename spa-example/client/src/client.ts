import { createActivity, type Activity } from './activity.ts'
import { createApiFetch, type ApiRequestInit, type ApiUrl } from './api-fetch.ts'
import { TokenHandlerClientError } from './errors.ts'
import {
  createLoginParts,
  type CallbackOptions,
  type LoginOptions,
  type TokenHandlerClientOptions,
} from './login-parts.ts'
import { navigableUrl, sameOriginPath } from './navigation.ts'
import { createRefreshLock } from './refresh-lock.ts'
import { createRefresher, type Refresher } from './refresh.ts'
import { createSessionCall, type SessionCall } from './session-call.ts'
import type { SessionListener, SessionStore } from './session-store.ts'
import type { Session } from './session.ts'

export interface LogoutOptions {
  /** Leave the page afterwards. Default true. */
  readonly navigate?: boolean
  /** End the session at the authorization server too (OpenID Connect RP-Initiated Logout). Default true. */
  readonly authorizationServer?: boolean
}

export interface RefreshOptions {
  /** No activity: the idle deadline stays where it is. Default false. */
  readonly background?: boolean
}

/** What the other modules of this package build on; not for applications, and free to change. */
export interface ClientInternals {
  readonly store: SessionStore
  readonly refresher: Refresher
  readonly call: SessionCall
  readonly apiUrl: ApiUrl
  readonly activity: Activity
}

/** One page's view of the session. No token ever passes through it. */
export interface TokenHandlerClient {
  /** What is known without asking; undefined before the first answer. */
  readonly current: Session | undefined
  /** Asks the agent who is logged in. Simultaneous calls share one request. */
  session(): Promise<Session>
  /** Leaves the page for the authorization server. Takes a `StepUpRequiredError` as it is. */
  login(options?: LoginOptions): Promise<void>
  /**
   * For the callback page: completes the login, removes the query from the address, and goes to the remembered path.
   * Without an authorization response in the address it only answers the session.
   * @throws CookiesNotStoredError when the login succeeded but the browser did not keep its cookies
   */
  handleCallback(options?: CallbackOptions): Promise<Session>
  /**
   * Refreshes now, however young the access token, and moves the idle deadline: for a button that says "stay signed in", or
   * when the user does much without a call. Simultaneous calls share one refresh.
   */
  refresh(options?: RefreshOptions): Promise<Session>
  /** Ends the session in all tabs. @returns the authorization server's end-session URL, if there is one */
  logout(options?: LogoutOptions): Promise<string | undefined>
  /**
   * `fetch` with the session, for this origin and `apiOrigins`. Refreshes once for all tabs when needed, and repeats the
   * request with its body. A call is activity, which moves the idle deadline, unless it is marked `background`. Answers of the API, errors too, and network errors come back as from `fetch` itself.
   * @throws SessionEndedError log in again; StepUpRequiredError log in with what it asks for; TemporaryError try later;
   *   TokenHandlerClientError `origin_not_allowed`, `body_not_repeatable` (the body is a stream), `user_changed` (another user logged
   *   in in another tab before the request could be repeated)
   */
  fetch(input: RequestInfo | URL, init?: ApiRequestInit): Promise<Response>
  /** Hears of every change of the session, in other tabs too. @returns ends the subscription */
  on(event: 'session', listener: SessionListener): () => void
  /** Ends all subscriptions and the connection to other tabs. */
  close(): void
  readonly internals: ClientInternals
}

/** The client of one OAuth Agent. Makes no request by itself. */
export function createTokenHandlerClient(options: TokenHandlerClientOptions = {}): TokenHandlerClient {
  const { name, agent, store, ask, session, login, handleCallback } = createLoginParts(options)
  const apiOrigins = new Set([location.origin, ...(options.apiOrigins ?? []).map((origin) => new URL(origin).origin)])
  const call = createSessionCall(agent, ask)
  const activity = createActivity(name)
  const refresher = createRefresher({ call, store, activity, lock: createRefreshLock(name), ask })
  const apiUrl: ApiUrl = (input) => {
    const url = new URL(input, location.href)
    if (apiOrigins.has(url.origin)) return url
    throw new TokenHandlerClientError('origin_not_allowed', `${url.origin} is not one of apiOrigins.`)
  }

  return {
    get current() {
      return store.current
    },
    session,
    refresh({ background = false } = {}) {
      if (!background) activity.note()
      return refresher.refresh()
    },
    fetch: createApiFetch({ store, refresher, activity, apiUrl, session }),
    login,
    handleCallback,
    async logout({ navigate = true, authorizationServer = true } = {}) {
      const answer = await agent.post('logout', undefined, { keepalive: true })
      store.end('logout')
      const end = answer['logout_url']
      const logoutUrl = end === undefined ? undefined : navigableUrl(end, agent.baseUrl)
      if (navigate) {
        location.assign((authorizationServer && logoutUrl) || (sameOriginPath(options.postLogoutPath) ?? '/'))
      }
      return logoutUrl
    },
    on: (_event, listener) => store.subscribe(listener),
    close() {
      store.close()
      activity.close()
    },
    internals: { store, refresher, call, apiUrl, activity },
  }
}
