import type { TokenHandlerClient } from './client.ts'
import { TokenHandlerClientError, type StepUpRequiredError } from './errors.ts'
import type { LoginOptions } from './login-parts.ts'
import { CALL, CALL_PENDING, remember, take } from './tab-memory.ts'

export interface StepUpOptions extends Pick<LoginOptions, 'returnTo' | 'authorizationParameters'> {
  /**
   * Which calls `repeatCall` may send after the login, by itself: `idempotent` ones (default; RFC 9110 section 9.2.2), `any`,
   * when the user's intention is beyond doubt, or `none`. The refused call itself never reached the API.
   */
  readonly repeat?: 'idempotent' | 'any' | 'none'
}

/** The repeated call, and what the API answered. */
export interface RepeatedCall {
  readonly method: string
  readonly url: string
  readonly response: Response
}

/** What is kept of a call while the user logs in. */
interface KeptCall {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body?: string
  /** Subject of the ID token: the call is this user's. */
  readonly sub: string
  /** Wall clock, because two page loads have no other in common. */
  readonly keptAt: number
}

const IDEMPOTENT = ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']
/** Headers that carry no credential and that the call may depend on. */
const KEPT_HEADERS = ['accept', 'content-type', 'if-match', 'if-none-match', 'idempotency-key', 'prefer']
const MOST_BODY_CHARACTERS = 64 * 1024
/** As long as the agent keeps a login that was started. */
const LIFE_MS = 600_000

/**
 * Leaves the page for the login that a call asks for, and keeps the call for `repeatCall` if it may and can be: method, URL,
 * a few headers and a JSON body of up to 64 Ki characters. Nothing else is kept, and that in sessionStorage of this tab. No call
 * is kept unless the session shows whose it is: `sub` must be among the agent's `id_token_claims`.
 * @returns whether the call is kept; the page is being left then
 */
export async function stepUp(
  client: TokenHandlerClient,
  { acrValues, maxAge, request }: StepUpRequiredError,
  { repeat = 'idempotent', ...login }: StepUpOptions = {},
): Promise<boolean> {
  const mayRepeat = repeat === 'any' || (repeat === 'idempotent' && IDEMPOTENT.includes(request?.method ?? ''))
  const call = mayRepeat && request !== undefined ? await keep(request, client) : undefined
  await client.login({ ...login, acrValues, ...(maxAge === undefined ? {} : { maxAge }) })
  remember(CALL_PENDING, call)
  return call !== undefined
}

/**
 * Repeats the call that `stepUp` kept, once, if this page is where its login led to, and the same user came back. Call it
 * when the page starts.
 * @returns undefined when there is nothing to repeat
 * @throws as `fetch`, StepUpRequiredError too: the login was not enough, and another would not be. `user_changed`: somebody
 *   else logged in, and the call is forgotten.
 */
export async function repeatCall(client: TokenHandlerClient): Promise<RepeatedCall | undefined> {
  const text = take(CALL)
  if (text === undefined) return undefined
  const { method, url, headers, body, sub, keptAt } = JSON.parse(text) as KeptCall
  if (Math.abs(Date.now() - keptAt) > LIFE_MS) return undefined
  const { isLoggedIn, idTokenClaims } = await client.session()
  if (!isLoggedIn) return undefined
  if (typeof sub !== 'string' || idTokenClaims?.['sub'] !== sub) {
    throw new TokenHandlerClientError('user_changed', 'Another user logged in; the call was not repeated.')
  }
  const init = { method, headers: headers.map(([name, value]): [string, string] => [name, value]) }
  const response = await client.fetch(url, { ...init, ...(body === undefined ? {} : { body }) })
  return { method, url, response }
}

async function keep(request: Request, client: TokenHandlerClient): Promise<string | undefined> {
  const headers = [...request.headers].filter(([name]) => KEPT_HEADERS.includes(name))
  const body = await request.text()
  const type = request.headers.get('content-type') ?? ''
  if (body !== '' && (!/^application\/(?:[\w.]+\+)?json\b/i.test(type) || body.length > MOST_BODY_CHARACTERS))
    return undefined
  const { idTokenClaims } = client.current ?? (await client.session())
  const sub = idTokenClaims?.['sub']
  // Nobody could tell whether it is the same user who comes back.
  if (typeof sub !== 'string') return undefined
  const call: KeptCall = {
    method: request.method,
    url: request.url,
    headers,
    ...(body === '' ? {} : { body }),
    sub,
    keptAt: Date.now(),
  }
  return JSON.stringify(call)
}
