import type { Clock } from '../clock.ts'
import type { SessionIdentity } from '../session-cookies.ts'
import type { EndReason, Rules } from './ledger.ts'

/** What a rule is about: one session, a session of the authorization server, a subject, or everybody. */
export type RuleKey = `sid:${string}` | `asid:${string}` | `sub:${string}` | 'all'

export interface Rule {
  readonly key: RuleKey
  /** Sessions that started before this instant (milliseconds, the ledger's clock) are over. */
  readonly before: number
  readonly reason: EndReason
  /** Milliseconds, the ledger's clock: when no cookie that it could refuse is left. */
  readonly expiresAt: number
}

/** The rules of one process. They only grow until they expire, so applying one twice is harmless. */
export class RuleSet implements Rules {
  readonly #rules = new Map<RuleKey, Rule>()
  readonly #listeners = new Set<(isOver: (session: SessionIdentity) => boolean) => void>()
  readonly #clock: Clock
  readonly #staleForMs: () => number

  /**
   * @param clock The ledger's time.
   * @param staleForMs How long other processes' rules may have been missed; never, unless given.
   */
  constructor(clock: Clock, staleForMs: () => number = () => 0) {
    this.#clock = clock
    this.#staleForMs = staleForMs
  }

  add(rule: Rule): void {
    const known = this.#rules.get(rule.key)
    if (known !== undefined && known.before >= rule.before && known.expiresAt >= rule.expiresAt) return
    this.#rules.set(rule.key, {
      key: rule.key,
      // What ended a session first stays its reason.
      reason: known === undefined || rule.before > known.before ? rule.reason : known.reason,
      before: Math.max(rule.before, known?.before ?? 0),
      expiresAt: Math.max(rule.expiresAt, known?.expiresAt ?? 0),
    })
    for (const listener of this.#listeners) listener((session) => this.endOf(session) !== undefined)
  }

  endOf({ sid, startedAt, subjectHash, asSessionHash }: SessionIdentity): EndReason | undefined {
    if (this.#rules.size === 0) return undefined
    const rule =
      this.#match(`sid:${sid}`, startedAt) ??
      this.#match(`sub:${subjectHash}`, startedAt) ??
      (asSessionHash === undefined ? undefined : this.#match(`asid:${asSessionHash}`, startedAt)) ??
      this.#match('all', startedAt)
    return rule?.reason
  }

  onRule(listener: (isOver: (session: SessionIdentity) => boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  staleForMs(): number {
    return this.#staleForMs()
  }

  /** All rules in force, for a store that came back empty. */
  inForce(): Rule[] {
    this.forgetExpired()
    return [...this.#rules.values()]
  }

  /** Frees the memory of rules that no cookie can meet any more; called now and then. */
  forgetExpired(): void {
    const now = this.#clock.now()
    for (const [key, rule] of this.#rules) if (rule.expiresAt <= now) this.#rules.delete(key)
  }

  #match(key: RuleKey, startedAt: number): Rule | undefined {
    const rule = this.#rules.get(key)
    return rule !== undefined && startedAt < rule.before ? rule : undefined
  }
}
