import { stepUpAskedBy } from './challenge.ts'
import { TemporaryError, TokenHandlerClientError } from './errors.ts'

/** The version of the wire contract; the header also forces a preflight on cross-origin calls. */
export const VERSION_HEADER = 'token-handler-version'
export const VERSION = '1'
/** On a refresh: nobody did anything since the one before. On an answer of the proxy: calls of this route are no activity. */
export const BACKGROUND_HEADER = 'token-handler-background'

export type AgentAnswer = Readonly<Record<string, unknown>>

/** The OAuth Agent's HTTP API. */
export interface Agent {
  readonly baseUrl: URL
  /** Asks. @throws TemporaryError when another try may help, TokenHandlerClientError otherwise */
  get(path: string): Promise<AgentAnswer>
  /** Sends a form, or JSON in a Blob. */
  post(path: string, body?: URLSearchParams | Blob, options?: PostOptions): Promise<AgentAnswer>
}

export interface PostOptions {
  /** Lets the answer's cookies arrive though the page is left. */
  readonly keepalive?: boolean
  /** Leaves the idle deadline where it is. */
  readonly background?: boolean
}

/** Statuses that tell of a passing condition: too many requests, upstream or store unreachable, too slow. */
const TEMPORARY = [429, 502, 503, 504]

export function createAgent(baseUrl: URL, timeoutMs: number): Agent {
  const call = async (path: string, init: RequestInit, background = false): Promise<AgentAnswer> => {
    let response: Response
    let body: unknown
    try {
      response = await fetch(new URL(path, baseUrl), {
        ...init,
        mode: 'cors',
        credentials: 'include',
        cache: 'no-store',
        // The agent never redirects a call; whatever does is not the agent.
        redirect: 'error',
        headers: {
          accept: 'application/json',
          [VERSION_HEADER]: VERSION,
          ...(background ? { [BACKGROUND_HEADER]: '1' } : {}),
        },
        signal: AbortSignal.timeout(timeoutMs),
      })
      body = await response.json().catch(notJson)
    } catch (error) {
      const timedOut = error instanceof DOMException && error.name === 'TimeoutError'
      throw timedOut
        ? new TemporaryError('timeout', 'The agent did not answer in time.', { cause: error })
        : new TemporaryError('network_error', 'The agent could not be reached.', { cause: error })
    }
    const answer = typeof body === 'object' && body !== null ? (body as AgentAnswer) : undefined
    if (response.ok && answer !== undefined) return answer
    throw stepUpAskedBy(response) ?? agentError(response, answer)
  }
  return {
    baseUrl,
    get: (path) => call(path, { method: 'GET' }),
    post: (path, body, { keepalive = false, background } = {}) =>
      call(path, { method: 'POST', keepalive, ...(body === undefined ? {} : { body }) }, background),
  }
}

/** Seconds of a `Retry-After` header: a number, or a date (RFC 9110 section 10.2.3). */
export function retryAfterSeconds(response: Response): { retryAfterSeconds?: number } {
  const value = response.headers.get('retry-after')
  if (value === null) return {}
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000)
  return Number.isNaN(seconds) ? {} : { retryAfterSeconds: Math.max(0, seconds) }
}

function agentError(response: Response, answer: AgentAnswer | undefined): TokenHandlerClientError {
  const { status } = response
  const code = answer?.['error_code']
  const detail = answer?.['detailed_error']
  const details = { status, ...retryAfterSeconds(response) }
  // 502 too, but waiting does not make a token smaller.
  const passes = TEMPORARY.includes(status) && code !== 'token_too_large'
  const Kind = passes ? TemporaryError : TokenHandlerClientError
  return new Kind(
    typeof code === 'string' ? code : 'invalid_answer',
    typeof detail === 'string' ? detail : `The agent answered ${status}.`,
    details,
  )
}

/** An unparsable body is an answer without content; a body that broke off is still a network error. */
export function notJson(error: unknown): undefined {
  if (error instanceof SyntaxError) return undefined
  throw error
}
