import type { Agent, AgentAnswer, PostOptions } from './agent.ts'
import { SessionEndedError, StepUpRequiredError, TokenHandlerClientError } from './errors.ts'
import type { SessionStore } from './session-store.ts'

/** A call to the agent that a live session is needed for. */
export type SessionCall = (path: string, body: URLSearchParams | Blob, options?: PostOptions) => Promise<AgentAnswer>

/** Posts to the agent; a 401 that a login alone can heal ends the session in all tabs. */
export function createSessionCall(agent: Agent, store: SessionStore): SessionCall {
  return async (path, body, options) => {
    const { epoch } = store
    const since = performance.now()
    try {
      return await agent.post(path, body, options)
    } catch (error) {
      const isOver = error instanceof TokenHandlerClientError && error.status === 401
      if (!isOver || error instanceof StepUpRequiredError) throw error
      // Whoever refreshed or logged in meanwhile has newer cookies: the answer is no word about those.
      if (store.epoch === epoch && store.renewedAt <= since) store.end('ended')
      throw new SessionEndedError(error.code, error.message, { status: 401, cause: error })
    }
  }
}
