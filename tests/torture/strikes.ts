import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KindAt } from './faults.ts'
import type { Reception } from './history.ts'

/** A refresh request that a fault strikes. */
export interface Struck {
  readonly reception: Reception
  readonly res: ServerResponse
  /** Limit of the agent's call. */
  readonly timeoutMs: number
  /** From 0 up to 1. */
  readonly severity: number
  /** kill -9 of the agent that sent it. */
  readonly kill: () => void
  /** Stops the agent that sent it for a while. */
  readonly pause: () => void
}

/** When a fault strikes, and how. A step that says `over` has answered, or has left without. */
interface Strike {
  readonly before?: (struck: Struck) => Step
  readonly processed?: (struck: Struck) => Step
  readonly answered?: (struck: Struck) => Step
}

type Step = 'over' | void | Promise<'over' | void>

/** What the refresh endpoint does in place of behaving well; see the catalogue of faults for the words. */
export const strikes: Readonly<Record<KindAt<'agent' | 'authorization server'>, Strike>> = {
  as_cut: { before: cut },
  as_lost: { processed: lost(cut) },
  as_error: { before: ({ res }) => answer(res, 500, '<h1>Internal Server Error</h1>') },
  as_late_error: { processed: lost(({ res }) => answer(res, 502, '<h1>Bad Gateway</h1>')) },
  as_garbage: { processed: lost(({ res }) => answer(res, 200, '{"access_token":"', 'application/json')) },
  as_busy: {
    before: harmless(({ res }) => {
      res.setHeader('retry-after', '1')
      return answer(res, 503, '{"error":"temporarily_unavailable"}', 'application/json')
    }),
  },
  as_limited: { before: harmless(({ res }) => answer(res, 429, 'Too many requests', 'text/plain')) },
  as_slow: { before: ({ timeoutMs, severity }) => sleep(timeoutMs * (0.4 + severity * 0.25)) },
  as_stall: { before: stall },
  as_late: { processed: lost(stall) },
  kill_before: { before: kill },
  kill_processed: { processed: kill },
  kill_answered: { answered: soon(({ kill: strike }) => strike()) },
  pause_before: { before: ({ pause }) => pause() },
  pause_processed: { processed: ({ pause }) => pause() },
  pause_answered: { answered: soon(({ pause }) => pause()) },
}

function cut({ res }: Struck): 'over' {
  res.destroy()
  return 'over'
}

function kill(struck: Struck): 'over' {
  struck.kill()
  return cut(struck)
}

async function stall(struck: Struck): Promise<'over'> {
  await sleep(struck.timeoutMs * 1.3)
  return cut(struck)
}

function answer(res: ServerResponse, status: number, body: string, type = 'text/html'): 'over' {
  res.writeHead(status, { 'content-type': type }).end(body)
  return 'over'
}

function lost(step: (struck: Struck) => Step): (struck: Struck) => Step {
  return (struck) => {
    struck.reception.isLost = true
    return step(struck)
  }
}

/** The agent learns from the answer that nothing was processed (row 5 of docs/sessions.md). */
function harmless(step: (struck: Struck) => Step): (struck: Struck) => Step {
  return (struck) => {
    struck.reception.isHarmless = true
    return step(struck)
  }
}

/** From before the agent can have read the answer, to after it has surely committed. */
function soon(step: (struck: Struck) => Step): (struck: Struck) => Step {
  return async (struck) => {
    await sleep(struck.severity < 0.3 ? 0 : struck.severity * 30)
    return step(struck)
  }
}
