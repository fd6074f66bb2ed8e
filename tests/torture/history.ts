import { createHash } from 'node:crypto'
import { createWriteStream, type WriteStream } from 'node:fs'
import type { Fault } from './faults.ts'

/** One login of one browser. */
export interface TorturedSession {
  /** What the agents' logs call it. */
  readonly id: string
  readonly browser: number
  /** Part of its cookies' names. */
  readonly tag: string
  readonly startedAt: number
  /** When its end was asked for, if it was. */
  logout: Logout | undefined
  /** When and how the browser was told that it is over, without having asked for it. */
  loss: Loss | undefined
  /** The last answer that proved it alive. */
  aliveAt: number
  /** When somebody with a copy of its cookies was last given newer ones. */
  stolenAt: number | undefined
}

export interface Loss {
  readonly at: number
  /** What the browser was told. */
  readonly answer: 'expired' | 'superseded' | 'not_logged_in'
  /** Of the cookies that it showed. */
  readonly generation: number
}

export interface Logout {
  readonly askedAt: number
  answeredAt: number | undefined
  agent: number | undefined
}

/** A refresh request as the authorization server, or what stands in front of it, saw it. */
export interface Reception {
  readonly at: number
  readonly agent: number
  readonly token: string
  /** What became of it there; `none` means that it was not processed. */
  outcome: 'none' | 'granted' | 'refused'
  processedAt: number | undefined
  /** The agent surely learned that nothing was processed. */
  isHarmless: boolean
  /** The answer was kept from the agent by a fault. */
  isLost: boolean
}

/** A line of an agent's log. */
export interface AgentEvent {
  readonly at: number
  readonly agent: number
  readonly event: string
  readonly session: string | undefined
  readonly generation: number | undefined
}

/** An interval in which an agent did not run, or could not use the store. */
export interface Outage {
  readonly kind: 'killed' | 'paused' | 'store'
  /** All of them where it is left out. */
  readonly agent: number | undefined
  from: number
  to: number | undefined
}

/** An answer that took a session's refresh cookie out of a jar. */
export interface Deletion {
  readonly at: number
  readonly session: string
}

/** An answer to somebody who asked after a logout had been answered, and was treated as logged in. */
export interface Revival {
  readonly sentAt: number
  readonly at: number
  readonly session: string
  readonly agent: number
  readonly what: 'new cookies' | 'is_logged_in'
}

/** Something that must not happen, whatever the faults. */
export interface Violation {
  readonly at: number
  readonly promise: string
  readonly detail: string
  readonly session: string | undefined
}

/** Everything that was seen, in the order in which it was seen. Instants are milliseconds since 1970. */
export class History {
  readonly sessions = new Map<string, TorturedSession>()
  readonly receptions: Reception[] = []
  readonly events: AgentEvent[] = []
  readonly outages: Outage[] = []
  readonly violations: Violation[] = []
  readonly deletions: Deletion[] = []
  readonly revivals: Revival[] = []
  /** Which session a refresh token belongs to, and how many rotations after its login. */
  readonly tokens = new Map<string, { readonly session: string; readonly depth: number }>()
  readonly counts = new Map<string, number>()
  inFlight = 0
  mostInFlight = 0
  longestAnswerMs = 0
  readonly #file: WriteStream | undefined

  constructor(file?: string) {
    this.#file = file === undefined ? undefined : createWriteStream(file)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** The first refresh token of a session. */
  begin(session: TorturedSession, token: string): void {
    this.sessions.set(session.id, session)
    this.tokens.set(tokenId(token), { session: session.id, depth: 0 })
    this.note('login', { session: session.id, browser: session.browser })
  }

  /** A refresh token was given out for another one. Where it does not rotate, it stays what it is. */
  descend(token: string, next: string): void {
    const parent = this.tokens.get(tokenId(token))
    if (parent !== undefined && next !== token) {
      this.tokens.set(tokenId(next), { session: parent.session, depth: parent.depth + 1 })
    }
  }

  receive(agent: number, token: string): Reception {
    const reception: Reception = {
      at: Date.now(),
      agent,
      token: tokenId(token),
      outcome: 'none',
      processedAt: undefined,
      isHarmless: false,
      isLost: false,
    }
    this.receptions.push(reception)
    return reception
  }

  violate(promise: string, detail: string, session?: string): void {
    this.violations.push({ at: Date.now(), promise, detail, session })
    this.note('violation', { promise, detail, session })
  }

  inject(fault: Fault, session?: string, agent?: number): void {
    fault.session = session
    fault.agent = agent
    this.count(fault.kind)
    this.note('fault', { id: fault.id, kind: fault.kind, session, agent })
  }

  heal(fault: Fault): void {
    fault.healedAt = Date.now()
    this.note('healed', { id: fault.id })
  }

  /** Writes a line to the history file, where there is one. */
  note(what: string, fields: Readonly<Record<string, unknown>>): void {
    this.#file?.write(`${JSON.stringify({ at: Date.now(), what, ...fields })}\n`)
  }

  async close(): Promise<void> {
    const file = this.#file
    if (file !== undefined) await new Promise<void>((resolve) => void file.end(resolve))
  }
}

/** A refresh token as the history shows it: enough to tell it from others, and no secret. */
export function tokenId(token: string): string {
  return createHash('sha256').update(token).digest('base64url').slice(0, 12)
}
