import type { AuditEvent, AuditEventName } from './events.ts'
import { networkPrefix } from './network.ts'

/** Refusals that anybody can cause as often as he likes, with a session or without. */
const repeatable: ReadonlySet<AuditEventName> = new Set([
  'guard_refused',
  'policy_refused',
  'rate_limited',
  'session_refused',
  'session_superseded',
])

/** Came over the network, was no success, and names nobody: anybody can cause that, whatever the event. */
function isAnonymous({ outcome, address, sid, subject, subjectHash, actor }: AuditEvent): boolean {
  return outcome !== 'success' && address !== undefined && (sid ?? subject ?? subjectHash ?? actor) === undefined
}

const windowMs = 10_000
const mostKinds = 4096

interface Repeated {
  readonly last: AuditEvent
  count: number
  readonly endsAt: number
}

/**
 * Keeps a flood of refusals from flooding the log: the first of a kind is passed on at once; those that are like it in event,
 * outcome, reason, session, network and what was asked for are counted for ten seconds, and told in one event with their `count`.
 */
export class Repeats {
  readonly #seen = new Map<string, Repeated>()

  /** @returns whether the event is to be recorded itself. */
  isFirst(event: AuditEvent, nowMs: number): boolean {
    if (!repeatable.has(event.event) && !isAnonymous(event)) return true
    const { outcome, reason, sid, route, capability, target, address } = event
    const key = JSON.stringify([event.event, outcome, reason, sid, route, capability, target, networkPrefix(address)])
    const known = this.#seen.get(key)
    if (known !== undefined) {
      known.count += 1
      return false
    }
    if (this.#seen.size < mostKinds) this.#seen.set(key, { last: event, count: 0, endsAt: nowMs + windowMs })
    return true
  }

  /** The counted events whose time is over, or all of them. */
  take(nowMs: number): AuditEvent[] {
    const events: AuditEvent[] = []
    for (const [key, { last, count, endsAt }] of this.#seen) {
      if (endsAt > nowMs) continue
      this.#seen.delete(key)
      const { correlationId: _onlyOfTheFirst, ...event } = last
      if (count > 0) events.push({ ...event, details: { ...event.details, count, window_seconds: windowMs / 1000 } })
    }
    return events
  }

  get isEmpty(): boolean {
    return this.#seen.size === 0
  }
}
