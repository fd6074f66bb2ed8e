import { Agent, request } from 'undici'
import type { AgentFleet } from './agents.ts'
import type { History } from './history.ts'

/** What became of a request of a browser. */
export type Reply =
  | {
      readonly outcome: 'answer'
      readonly status: number
      readonly code: string | undefined
      readonly json: Readonly<Record<string, unknown>>
      readonly setCookies: readonly string[]
    }
  /** Given up by the browser, or cut off with the agent. */
  | { readonly outcome: 'none' }

export interface AskOptions {
  readonly agent: number
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly cookie: string
  readonly body?: URLSearchParams
  readonly signal?: AbortSignal
}

/** Answers are written within this time, or aborted; a paused agent's pauses come on top. */
const longestAnswerMs = 30_000

/** Every answer that the agent gives on purpose: anything else is a fault of its own. */
const expected: Readonly<Record<number, readonly (string | undefined)[]>> = {
  200: [undefined],
  400: ['unknown_state', 'authorization_error'],
  401: ['session_expired', 'session_superseded'],
  502: ['authorization_server_error'],
  503: ['refresh_pending', 'store_unavailable', 'login_pending', 'authorization_server_error'],
}

/** Sends requests as browsers do, and holds every answer against what may be answered at all. */
export class BrowserRequests {
  readonly origin: string
  readonly #agents: AgentFleet
  readonly #history: History
  // The browser model decides how long it waits, not the client.
  readonly #dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 1000 })

  constructor({ origin, agents, history }: { origin: string; agents: AgentFleet; history: History }) {
    this.origin = origin
    this.#agents = agents
    this.#history = history
  }

  async ask({ agent, method, path, cookie, body, signal }: AskOptions): Promise<Reply> {
    const history = this.#history
    const sentAt = Date.now()
    history.inFlight += 1
    history.mostInFlight = Math.max(history.mostInFlight, history.inFlight)
    history.count(`${method} ${path}`)
    try {
      const response = await request(this.#agents.url(agent) + path, {
        method,
        dispatcher: this.#dispatcher,
        headers: {
          origin: this.origin,
          'token-handler-version': '1',
          ...(cookie === '' ? {} : { cookie }),
          ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        },
        ...(body === undefined ? {} : { body: body.toString() }),
        ...(signal === undefined ? {} : { signal }),
      })
      const json = (await response.body.json()) as Record<string, unknown>
      const code = typeof json['error_code'] === 'string' ? json['error_code'] : undefined
      const { statusCode: status } = response
      if (expected[status]?.includes(code) !== true) {
        history.violate('agents answer as documented', `${method} ${path}: ${status} ${code ?? ''}`)
      }
      return { outcome: 'answer', status, code, json, setCookies: setCookiesOf(response.headers['set-cookie']) }
    } catch (error) {
      if (signal?.aborted !== true && this.#outageMs(agent, sentAt) === 0) {
        history.violate('requests are answered', `${method} ${path} at agent ${agent}: ${String(error)}`)
      }
      return { outcome: 'none' }
    } finally {
      history.inFlight -= 1
      const tookMs = Date.now() - sentAt - this.#outageMs(agent, sentAt)
      history.longestAnswerMs = Math.max(history.longestAnswerMs, tookMs)
      if (tookMs > longestAnswerMs) {
        history.violate('every request ends', `${method} ${path} at agent ${agent} took ${tookMs} ms`)
      }
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy()
  }

  /** For how long an agent did not run since an instant. */
  #outageMs(agent: number, since: number): number {
    const now = Date.now()
    return this.#history.outages
      .filter((outage) => outage.kind !== 'store' && outage.agent === agent)
      .map(({ from, to = now }) => Math.max(0, Math.min(to, now) - Math.max(from, since) + 1))
      .reduce((sum, ms) => sum + ms, 0)
  }
}

function setCookiesOf(header: string | string[] | undefined): string[] {
  return header === undefined ? [] : [header].flat()
}
