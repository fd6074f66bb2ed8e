import type { Agent } from './agent.ts'
import { CookiesNotStoredError, TemporaryError, type CookiesNotStoredReason } from './errors.ts'
import { isLoopback, navigableUrl, sameOriginPath } from './navigation.ts'
import type { SessionStore } from './session-store.ts'
import { parseSession, type Session } from './session.ts'
import { CALL, CALL_PENDING, remember, RETURN_TO, take } from './tab-memory.ts'

export interface LoginDeps {
  readonly agent: Agent
  readonly store: SessionStore
}

/** Browsers refuse requests that outlive their page when the bodies of all of them are over 64 KiB; others have some too. */
const MOST_KEEPALIVE_BYTES = 32 * 1024

/**
 * Is there an authorization response in this query: code or error with the state (RFC 6749 section 4.1.2), or all of it in
 * a JWT (JARM section 2.3.1)? A state alone is no response: the return from a logout brings one too.
 */
export function hasAuthorizationResponse(search: string): boolean {
  const params = new URLSearchParams(search)
  return params.has('response') || (params.has('state') && (params.has('code') || params.has('error')))
}

/** Asks the agent for an authorization request, remembers where to return to, and answers the URL to navigate to. */
export async function startLogin(
  { agent }: Pick<LoginDeps, 'agent'>,
  returnTo: string | undefined,
  parameters: Readonly<Record<string, string>>,
): Promise<string> {
  const answer = await agent.post('login/start', new URLSearchParams(parameters))
  const url = navigableUrl(answer['authorization_url'], agent.baseUrl)
  remember(RETURN_TO, sameOriginPath(returnTo))
  // It belonged to a login that was given up.
  take(CALL_PENDING)
  return url
}

/**
 * Posts the authorization response to the agent, and makes sure that the browser kept the cookies.
 * The query leaves the address bar first: neither a reload nor the history may hold a code, whatever happens next.
 */
export async function endLogin({ agent, store }: LoginDeps): Promise<Session> {
  const params = new URLSearchParams(location.search)
  history.replaceState(history.state, '', location.pathname)
  // A reload would lose the answer, and the code is spent.
  const keepalive = params.toString().length <= MOST_KEEPALIVE_BYTES
  const promised = parseSession(await agent.post('login/end', params, { keepalive }))
  const stored = await agent.get('session').then(parseSession, (error: unknown) => {
    // The agent cannot be asked just now; what it said a moment ago holds.
    if (error instanceof TemporaryError) return promised
    throw error
  })
  if (!stored.isLoggedIn) throw new CookiesNotStoredError(likelyReason(agent.baseUrl))
  store.renew(stored, 'login')
  remember(CALL, take(CALL_PENDING))
  return stored
}

/** The remembered path, once; undefined when there is none, or it has become unfit, or leads to this very page. */
export function takeReturnTo(): string | undefined {
  const path = sameOriginPath(take(RETURN_TO))
  return path === undefined || new URL(path, location.origin).pathname === location.pathname ? undefined : path
}

function likelyReason(agentUrl: URL): CookiesNotStoredReason {
  if (agentUrl.protocol === 'http:' && !isLoopback(agentUrl.hostname)) return 'insecure_origin'
  if (!navigator.cookieEnabled) return 'cookies_blocked'
  if (agentUrl.protocol !== location.protocol || !looksSameSite(agentUrl.hostname, location.hostname)) {
    return 'cross_site_agent'
  }
  return agentUrl.protocol === 'http:' ? 'insecure_loopback' : 'unknown'
}

/** Without the public suffix list, so it may take two sites for one (`a.co.uk`, `b.co.uk`), never one for two. */
function looksSameSite(a: string, b: string): boolean {
  return a === b || (lastLabels(a) === lastLabels(b) && !/^[\d.]+$|^\[/.test(a))
}

function lastLabels(host: string): string {
  return host.split('.').slice(-2).join('.')
}
