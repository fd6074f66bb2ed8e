import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerResponse } from 'node:http'
import type { AgentFleet } from './agents.ts'
import type { Fault, FaultSchedule, KindAt } from './faults.ts'
import { tokenId, type History } from './history.ts'
import { strikes, type Struck } from './strikes.ts'
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

  function nextFault(agent: number): Fault<KindAt<'agent' | 'authorization server'>> | undefined {
    if (!random.isTrue(faultShare)) return undefined
    const isBreakable = agents.mayBreak(agent, agentPauseMs)
    return (isBreakable ? schedule.take('agent') : undefined) ?? schedule.take('authorization server')
  }

  async function kill(fault: Fault, agent: number): Promise<void> {
    const { restarted } = await agents.kill(agent)
    await restarted
    history.heal(fault)
  }

  async function pause(fault: Fault, agent: number): Promise<void> {
    const ms = 300 + fault.severity * (Math.min(leaseMs * 1.4, longestPauseMs) - 300)
    await agents.pause(agent, ms).resumed
    history.heal(fault)
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
    const isAgents = fault?.place === 'agent'
    const strike = fault === undefined ? {} : strikes[fault.kind]
    const struck: Struck = {
      reception,
      res,
      timeoutMs,
      severity: fault?.severity ?? 0,
      kill: () => void (fault && kill(fault, agent)),
      pause: () => void (fault && pause(fault, agent)),
    }
    if (fault !== undefined) history.inject(fault, known?.session, isAgents ? agent : undefined)
    await sleep(random.between(0, 40))
    if ((await strike.before?.(struck)) !== 'over') {
      const { status, body, next } = await process()
      reception.processedAt = Date.now()
      reception.outcome = next === undefined ? (status === 400 ? 'refused' : 'none') : 'granted'
      if (next !== undefined) history.descend(token, next)
      await sleep(random.between(0, 20))
      if ((await strike.processed?.(struck)) !== 'over') {
        // The agent may have given up meanwhile.
        if (res.destroyed) reception.isLost = true
        res.writeHead(status, json).end(body)
        await strike.answered?.(struck)
      }
    }
    if (fault !== undefined && !isAgents) history.heal(fault)
    history.note('reception', { ...reception, ...known, fault: fault?.id })
  }
}

export type AnswerRefresh = ReturnType<typeof createRefreshFaults>
