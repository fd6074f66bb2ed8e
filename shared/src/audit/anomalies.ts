import type { AuditEvent, AuditEventName } from './events.ts'
import { networkPrefix } from './network.ts'

/** When anomaly rules raise alerts. A threshold of 0 switches its rule off. */
export interface AlertOptions {
  readonly windowSeconds: number
  readonly failedLoginsPerNetwork: number
  readonly failedLogins: number
  readonly superseded: number
  readonly newNetwork: boolean
  readonly capabilitiesPerSubject: number
}

/** Things that are counted, or sessions that are remembered, at most; beyond that the oldest is forgotten. */
const mostKept = 16_384

interface Count {
  count: number
  endsAt: number
}

const watched: ReadonlySet<AuditEventName> = new Set([
  'login',
  'refresh',
  'capability',
  'logout',
  'session_ended',
  'session_superseded',
])

/** Watches events and raises alerts, each at most once in a window. */
export class Anomalies {
  readonly #options: AlertOptions
  readonly #counts = new Map<string, Count>()
  readonly #networks = new Map<string, string>()

  constructor(options: AlertOptions) {
    this.#options = options
  }

  /** The alerts that an event leads to. */
  watch(event: AuditEvent, nowMs: number): AuditEvent[] {
    if (!watched.has(event.event)) return []
    const { windowSeconds } = this.#options
    const network = networkPrefix(event.address)
    const alerts: AuditEvent[] = []
    const count = (rule: string, key: string, threshold: number, whose: Partial<AuditEvent>): void => {
      if (threshold === 0 || !this.#reaches(`${rule} ${key}`, threshold, nowMs)) return
      const details = { rule, count: threshold, window_seconds: windowSeconds }
      alerts.push({ event: 'alert', outcome: 'success', reason: rule, ...whose, details })
    }
    const { sid, subject, subjectHash, address, capability } = event
    if (event.event === 'login' && event.outcome === 'failure') {
      const { failedLogins, failedLoginsPerNetwork } = this.#options
      if (network !== undefined) count('failed_logins_per_network', network, failedLoginsPerNetwork, { address })
      count('failed_logins', '', failedLogins, {})
    } else if (event.event === 'session_superseded') {
      count('superseded', '', this.#options.superseded, { sid, subject, subjectHash, address })
    } else if (event.event === 'capability') {
      const whose = { sid, subject, subjectHash, capability }
      const key = subjectHash ?? subject ?? sid
      if (key !== undefined) count('capabilities_per_subject', key, this.#options.capabilitiesPerSubject, whose)
    }
    return [...alerts, ...this.#watchNetwork(event, network, nowMs)]
  }

  #watchNetwork(
    { event, outcome, sid, subject, address }: AuditEvent,
    network: string | undefined,
    nowMs: number,
  ): AuditEvent[] {
    if (!this.#options.newNetwork || sid === undefined || network === undefined || outcome !== 'success') return []
    if (event === 'logout' || event === 'session_ended') this.#networks.delete(sid)
    if (event !== 'login' && event !== 'refresh') return []
    const before = this.#networks.get(sid)
    keep(this.#networks, sid, network)
    if (before === undefined || before === network || !this.#reaches(`new_network ${sid}`, 1, nowMs)) return []
    const rule = 'new_network'
    const details = { rule, expected: before, seen: network }
    return [{ event: 'alert', outcome: 'success', reason: rule, sid, subject, address, details }]
  }

  /** Counts one; whether that is the one that reaches the threshold. */
  #reaches(key: string, threshold: number, nowMs: number): boolean {
    let known = this.#counts.get(key)
    if (known === undefined || known.endsAt <= nowMs) {
      known = { count: 0, endsAt: nowMs + this.#options.windowSeconds * 1000 }
      keep(this.#counts, key, known)
    }
    known.count += 1
    return known.count === threshold
  }
}

/** Puts an entry to the young end of the map, and forgets the oldest one where there are too many. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key)
  if (map.size >= mostKept) map.delete(map.keys().next().value ?? '')
  map.set(key, value)
}
