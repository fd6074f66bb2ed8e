import { createAgent, type Agent } from './agent.ts'
import { endLogin, hasAuthorizationResponse, startLogin, takeReturnTo } from './login.ts'
import { sameOriginPath } from './navigation.ts'
import { createSessionStore, type SessionStore } from './session-store.ts'
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
  /** Authentication contexts, one of which the login must reach (OpenID Connect Core section 3.1.2.1). */
  readonly acrValues?: readonly string[]
  /** Most seconds since the user authenticated; 0 asks in any case. */
  readonly maxAge?: number
  /** Sent along to `login/start`, e.g. `scope`, `prompt`, `login_hint`; the agent keeps an allow-list. */
  readonly authorizationParameters?: Readonly<Record<string, string>>
}

export interface CallbackOptions {
  /** Go to the remembered path afterwards. Default true. */
  readonly navigate?: boolean
}

/** What the callback page needs of a client, and nothing more. */
export interface LoginParts {
  /** Names this agent's channel and lock among the tabs. */
  readonly name: string
  readonly agent: Agent
  readonly store: SessionStore
  /** Asks the agent anew: an answer that was on its way before does not count. */
  readonly ask: () => Promise<Session>
  readonly session: () => Promise<Session>
  readonly login: (options?: LoginOptions) => Promise<void>
  readonly handleCallback: (options?: CallbackOptions) => Promise<Session>
}

/** The parts of a client that log in. Makes no request by itself. */
export function createLoginParts(options: TokenHandlerClientOptions): LoginParts {
  const base = new URL(options.agentUrl ?? '/oauth-agent', location.href)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  const name = `token-handler/1:${base.origin}${base.pathname}`
  const agent = createAgent(base, options.timeoutMs ?? 20_000)
  const store = createSessionStore(name)
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

  return {
    name,
    agent,
    store,
    ask,
    session,
    async login({ returnTo, acrValues = [], maxAge, authorizationParameters } = {}) {
      const here = location.pathname + location.search + location.hash
      const parameters = {
        ...authorizationParameters,
        ...(acrValues.length === 0 ? {} : { acr_values: acrValues.join(' ') }),
        ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
      }
      location.assign(await startLogin({ agent }, returnTo ?? here, parameters))
    },
    async handleCallback({ navigate = true } = {}) {
      // React calls effects twice in development: the second call waits for the first, the query being gone.
      if (hasAuthorizationResponse(location.search)) callback = complete(navigate)
      return callback ?? session()
    },
  }
}
