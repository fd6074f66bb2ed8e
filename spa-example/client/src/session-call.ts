import type { Agent, AgentAnswer, PostOptions } from './agent.ts'
import { SessionEndedError, StepUpRequiredError, TokenHandlerClientError } from './errors.ts'
import type { Session } from './session.ts'

/**
 * A call to the agent that a live session is needed for.
 * @returns undefined when it was refused for a session that a login has replaced meanwhile: the store knows the new one
 */
export type SessionCall = (
  path: string,
  body: URLSearchParams | Blob,
  options?: PostOptions,
) => Promise<AgentAnswer | undefined>

/**
 * Posts to the agent. A 401 that a login alone can heal ends the session in all tabs, if the agent still says so when it is
 * asked with the cookies of now: while the call was under way another tab may have logged in, and its news may be late.
 * @param ask Asks the agent anew, and tells the store.
 */
export function createSessionCall(agent: Agent, ask: () => Promise<Session>): SessionCall {
  return async (path, body, options) => {
    try {
      return await agent.post(path, body, options)
    } catch (error) {
      const isRefused = error instanceof TokenHandlerClientError && error.status === 401
      if (!isRefused || error instanceof StepUpRequiredError) throw error
      if ((await ask()).isLoggedIn) return undefined
      throw new SessionEndedError(error.code, error.message, { status: 401, cause: error })
    }
  }
}
