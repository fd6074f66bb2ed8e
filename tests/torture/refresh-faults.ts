import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerResponse } from 'node:http'
import type { AgentFleet } from './agents.ts'
import type { Fault, FaultSchedule } from './faults.ts'
import { tokenId, type History, type Reception } from './history.ts'
import type { Random } from './random.ts'

/** What an authorization server makes of a refresh request. */
export interface TokenAnswer {
  readonly status: number
  readonly body: string
  /** The refresh token to be used next, with a success. */
  readonly next: string | undefined
}

export interface RefreshFaultsDeps {
  readonly history: History
  readonly schedule: FaultSchedule
  readonly agents: AgentFleet
  readonly random: Random
  /** Limit of the agents' calls. */
  readonly timeoutMs: number
}

/** Of all refresh requests, those that meet with a fault while faults are due. */
const faultShare = 0.35
/** Between two agents that are broken. */
const agentPauseMs = 1_200
const longestPauseMs = 12_000
const json = { 'content-type': 'application/json' }

/**
 * Answers one refresh request, and has faults strike before it is processed, between processing and answer, and after the
 * answer.
 * @param process Has the authorization server process the request, once.
 */
export function createRefreshFaults({ history, schedule, agents, random, timeoutMs }: RefreshFaultsDeps) {
  const leaseMs = timeoutMs + 5000

  function nextFault(agent: number): Fault | undefined {
    if (!random.isTrue(faultShare)) return undefined
    const isBreakable = agents.mayBreak(agent, agentPauseMs)
    return (isBreakable ? schedule.take('agent') : undefined) ?? schedule.take('authorization server')
  }

  function kill(fault: Fault, agent: number): void {
    void agents.kill(agent).then(async ({ restarted }) => {
      await restarted
      history.heal(fault)
    })
  }

  function pause(fault: Fault, agent: number): void {
    const ms = 300 + fault.severity * (Math.min(leaseMs * 1.4, longestPauseMs) - 300)
    void agents.pause(agent, ms).resumed.then(() => history.heal(fault))
  }

  /** @returns Whether the request is over. */
  async function strikeBefore(fault: Fault, reception: Reception, res: ServerResponse): Promise<boolean> {
    switch (fault.kind) {
      case 'as_cut':
        res.destroy()
        return true
      case 'as_error':
        res.writeHead(500, { 'content-type': 'text/html' }).end('<h1>Internal Server Error</h1>')
        return true
      case 'as_busy':
        reception.isHarmless = true
        res.writeHead(503, { ...json, 'retry-after': '1' }).end('{"error":"temporarily_unavailable"}')
        return true
      case 'as_limited':
        reception.isHarmless = true
        res.writeHead(429, { 'content-type': 'text/plain' }).end('Too many requests')
        return true
      case 'as_stall':
        await sleep(timeoutMs * 1.3)
        res.destroy()
        return true
      case 'kill_before':
        kill(fault, reception.agent)
        res.destroy()
        return true
      case 'pause_before':
        pause(fault, reception.agent)
        return false
      case 'as_slow':
        await sleep(timeoutMs * (0.5 + fault.severity * 0.25))
        return false
      default:
        return false
    }
  }

  /** @returns Whether the request is over. */
  async function strikeProcessed(fault: Fault, reception: Reception, res: ServerResponse): Promise<boolean> {
    switch (fault.kind) {
      case 'as_lost':
        reception.isLost = true
        res.destroy()
        return true
      case 'as_late_error':
        reception.isLost = true
        res.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>')
        return true
      case 'as_garbage':
        reception.isLost = true
        res.writeHead(200, json).end('{"access_token":"')
        return true
      case 'as_late':
        reception.isLost = true
        await sleep(timeoutMs * 1.3)
        res.destroy()
        return true
      case 'kill_processed':
        kill(fault, reception.agent)
        res.destroy()
        return true
      case 'pause_processed':
        pause(fault, reception.agent)
        return false
      default:
        return false
    }
  }

  async function strikeAnswered(fault: Fault, { agent }: Reception): Promise<void> {
    if (fault.kind !== 'kill_answered' && fault.kind !== 'pause_answered') return
    // From before the agent can have read the answer, to after it has surely committed.
    await sleep(fault.severity < 0.3 ? 0 : fault.severity * 30)
    if (fault.kind === 'kill_answered') kill(fault, agent)
    else pause(fault, agent)
  }

  return async function answerRefresh(
    agent: number,
    token: string,
    res: ServerResponse,
    process: () => Promise<TokenAnswer>,
  ): Promise<void> {
    const reception = history.receive(agent, token)
    const known = history.tokens.get(tokenId(token))
    const fault = known === undefined ? undefined : nextFault(agent)
    const isAgentFault = fault?.place === 'agent'
    if (fault !== undefined) history.inject(fault, known?.session, isAgentFault ? agent : undefined)
    const note = (): void => history.note('reception', { ...reception, ...known, fault: fault?.id })
    await sleep(random.between(0, 40))
    const isOver = fault !== undefined && (await strikeBefore(fault, reception, res))
    if (!isOver) {
      const { status, body, next } = await process()
      reception.processedAt = Date.now()
      reception.outcome = next === undefined ? (status === 400 ? 'refused' : 'none') : 'granted'
      if (next !== undefined) history.descend(token, next)
      await sleep(random.between(0, 20))
      if (fault === undefined || !(await strikeProcessed(fault, reception, res))) {
        res.writeHead(status, json).end(body)
        if (fault !== undefined) await strikeAnswered(fault, reception)
      }
    }
    if (fault !== undefined && !isAgentFault) history.heal(fault)
    note()
  }
}

export type AnswerRefresh = ReturnType<typeof createRefreshFaults>
