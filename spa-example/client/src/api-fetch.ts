import { abortable } from './abortable.ts'
import type { Activity } from './activity.ts'
import { BACKGROUND_HEADER, notJson, retryAfterSeconds, VERSION, VERSION_HEADER } from './agent.ts'
import { stepUpAskedBy } from './challenge.ts'
import { SessionEndedError, TemporaryError, TokenHandlerClientError } from './errors.ts'
import { accessTokenLeft, type Refresher } from './refresh.ts'
import { repeatableRequest } from './repeatable-request.ts'
import type { SessionStore } from './session-store.ts'
import type { Session } from './session.ts'

export interface ApiFetchDeps {
  readonly store: SessionStore
  readonly refresher: Refresher
  readonly activity: Activity
  readonly apiUrl: ApiUrl
  readonly session: () => Promise<Session>
}

/**
 * A URL that may be called with the session's cookies.
 * @throws TokenHandlerClientError `origin_not_allowed`
 */
export type ApiUrl = (url: string | URL) => URL

export interface ApiRequestInit extends RequestInit {
  /** Nobody asked for it just now, as a poll: the call does not keep the session from becoming idle. Default false. */
  readonly background?: boolean
}

export type ApiFetch = (input: RequestInfo | URL, init?: ApiRequestInit) => Promise<Response>

/** What the OAuth Proxy can answer in place of the API, and this library acts upon. */
type Refusal = 'access_token_expired' | 'session_missing' | 'session_ended' | 'context_changed' | 'store_unavailable'

const REFUSALS: Readonly<Record<Refusal, number>> = {
  access_token_expired: 401,
  session_missing: 401,
  session_ended: 401,
  context_changed: 401,
  store_unavailable: 503,
}

/** `fetch` for APIs behind the OAuth Proxy: with the session, refreshed and repeated when its access token is over. */
export function createApiFetch({ store, refresher, activity, apiUrl, session }: ApiFetchDeps): ApiFetch {
  /** What the proxy called background, without the query. */
  const background = new Set<string>()
  return async (input, init) => {
    const asker = userOf(store.current)
    const request = await repeatableRequest(input, init, { [VERSION_HEADER]: VERSION })
    const { origin, pathname } = apiUrl(request.url)
    const target = origin + pathname
    if (init?.background !== true && !background.has(target)) activity.note()
    if (accessTokenLeft(store.current) === 0) await abortable(refresher.renew(performance.now()), request.signal)
    // A stream is sent once, so it gets a token that lives; others go on with the old one meanwhile.
    else if (request.repeatable) void refresher.early()
    else await abortable(refresher.early(), request.signal)

    for (let sends = 1; ; sends += 1) {
      const user = userOf(store.current)
      // It was this user's wish, and nobody else's.
      if (asker !== undefined && user !== undefined && user !== asker) {
        throw new TokenHandlerClientError('user_changed', 'Another user logged in; the call was not repeated.')
      }
      const since = performance.now()
      const response = await fetch(request.build())
      if (response.headers.has(BACKGROUND_HEADER)) background.add(target)
      const stepUp = stepUpAskedBy(response, request)
      if (stepUp !== undefined) throw stepUp
      const code = await refusal(response, request.isHead && sends === 1)
      if (code === undefined) return response
      const { status } = response
      if (code === 'store_unavailable') {
        throw new TemporaryError(code, 'The session cannot be checked just now.', {
          status,
          ...retryAfterSeconds(response),
        })
      }
      // Between sending and this answer somebody refreshed or logged in: it is no word about the cookies of now.
      const outdated = store.renewedAt > since
      const isOver = code !== 'access_token_expired' && !outdated
      // News of a login in another tab may be late. Where the agent cannot be asked, the proxy's word holds, and so does its second.
      if (isOver && !(sends === 1 && (await abortable(session().catch(unknown), request.signal))?.isLoggedIn)) {
        store.end('ended')
        throw new SessionEndedError(code, 'The session is over.', { status })
      }
      if (!request.repeatable) {
        throw new TokenHandlerClientError('body_not_repeatable', 'A stream cannot be sent again.', { status })
      }
      if (sends === 3) throw new TokenHandlerClientError(code, 'Refreshed, and still refused.', { status })
      // Refused again, so the access cookie itself may be gone: the agent's word that the token lives does not help.
      if (!outdated && !isOver) await abortable(refresher.renew(since, sends === 1), request.signal)
    }
  }
}

/** @param guess The answer has no body, so the most frequent reason is tried once: the agent knows whether it is the right one. */
async function refusal(response: Response, guess: boolean): Promise<Refusal | undefined> {
  if (response.status !== 401 && response.status !== 503) return undefined
  if (!/^application\/json\b/i.test(response.headers.get('content-type') ?? '')) return undefined
  if (guess && response.status === 401) return 'access_token_expired'
  const body: unknown = await response.clone().json().catch(notJson)
  const code: unknown = typeof body === 'object' && body !== null && 'code' in body ? body.code : undefined
  return isRefusal(code) && REFUSALS[code] === response.status ? code : undefined
}

function isRefusal(code: unknown): code is Refusal {
  return typeof code === 'string' && Object.hasOwn(REFUSALS, code)
}

function unknown(): undefined {
  return undefined
}

function userOf(session: Session | undefined): unknown {
  return session?.idTokenClaims?.['sub']
}
