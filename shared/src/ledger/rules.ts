import type { Clock } from '../clock.ts'
import type { SessionIdentity } from '../session-cookies.ts'
import type { EndReason, RuleListener, Rules } from './ledger.ts'

/**
 * What a rule is about: one session (`sid:`), a session of the authorization server (`asid:`), a subject (`sub:`), a
 * subject's sessions whose ID token named no session of the authorization server (`sub-without-sid:`), a client
 * (`client:`), what was sealed under one key (`kid:`), or everybody. All but `sid:` and `kid:` go by hashes; see
 * `identityHash`.
 */
export type RuleKey = `${RuleKind}:${string}` | 'all'

const ruleKinds = ['sid', 'asid', 'sub', 'sub-without-sid', 'client', 'kid'] as const
export type RuleKind = (typeof ruleKinds)[number]

export interface Rule {
  readonly key: RuleKey
  /** Sessions that started before this instant (milliseconds, the ledger's clock) are over. */
  readonly before: number
  readonly reason: EndReason
  /** Milliseconds, the ledger's clock: when no cookie that it could refuse is left. */
  readonly expiresAt: number
}

/** What operators see of the rules of one process. */
export interface RuleSurvey {
  readonly total: number
  readonly byKind: ReadonlyMap<string, number>
  /** Those that came last, of each kind. */
  readonly newest: readonly Rule[]
}

/** What a process does that may have missed the rules of others for too long. */
export type StalePolicy = 'fail_closed' | 'serve_until_token_expiry'

/** How one process goes by its rules. */
export interface RuleSettings {
  /** `identityHash(issuer, clientId)` of the client whose cookies this process opens; `client:` rules are nothing to it unless given. */
  readonly clientHash?: string | undefined
  /** `fail_closed` unless given. */
  readonly stalePolicy?: StalePolicy | undefined
  /** Milliseconds: 60,000 unless given. */
  readonly staleAfterMs?: number | undefined
}

/** The rules of one process. They only grow until they expire, so applying one twice is harmless. */
export class RuleSet implements Rules {
  readonly clientHash: string | undefined
  readonly stalePolicy: StalePolicy
  readonly staleAfterMs: number
  // One map a kind: a look-up on the way of every request builds no text.
  readonly #byKind: Readonly<Record<RuleKind | 'all', Map<string, Rule>>>
  readonly #listeners = new Set<RuleListener>()
  readonly #clock: Clock
  readonly #staleForMs: () => number
  #size = 0
  #wasStale = false

  /**
   * @param clock The ledger's time.
   * @param staleForMs How long other processes' rules may have been missed; never, unless given.
   */
  constructor(clock: Clock, staleForMs: () => number = () => 0, settings: RuleSettings = {}) {
    this.#clock = clock
    this.#staleForMs = staleForMs
    this.clientHash = settings.clientHash
    this.stalePolicy = settings.stalePolicy ?? 'fail_closed'
    this.staleAfterMs = settings.staleAfterMs ?? 60_000
    this.#byKind = {
      sid: new Map(),
      asid: new Map(),
      sub: new Map(),
      'sub-without-sid': new Map(),
      client: new Map(),
      kid: new Map(),
      all: new Map(),
    }
  }

  /** How many rules are held, expired ones that were not forgotten yet included. */
  get size(): number {
    return this.#size
  }

  add(rule: Rule): void {
    this.addAll([rule])
  }

  /** Adds many and tells the listeners once. */
  addAll(rules: readonly Rule[]): void {
    const added = rules.filter((rule) => this.#keep(rule)).length
    if (added > 0) this.#tell((session) => this.endOf(session) !== undefined, 'rule')
  }

  endOf({ sid, startedAt, subjectHash, asSessionHash, kid }: SessionIdentity): EndReason | undefined {
    if (this.#size === 0) return undefined
    const kinds = this.#byKind
    const rule =
      ending(kinds.sid.get(sid), startedAt) ??
      ending(kinds.sub.get(subjectHash), startedAt) ??
      (asSessionHash === undefined
        ? ending(kinds['sub-without-sid'].get(subjectHash), startedAt)
        : ending(kinds.asid.get(asSessionHash), startedAt)) ??
      (kid === undefined ? undefined : ending(kinds.kid.get(kid), startedAt)) ??
      (this.clientHash === undefined ? undefined : ending(kinds.client.get(this.clientHash), startedAt)) ??
      ending(kinds.all.get(''), startedAt)
    return rule?.reason
  }

  onRule(listener: RuleListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  staleForMs(): number {
    return this.#staleForMs()
  }

  areStale(): boolean {
    const staleMs = this.#staleForMs()
    return staleMs > this.staleAfterMs && (this.stalePolicy === 'fail_closed' || staleMs === Infinity)
  }

  mayBeMissed(): boolean {
    return this.#staleForMs() > this.staleAfterMs
  }

  /** Tells the listeners once when the rules become too old to serve by; called by stores now and then. */
  checkStaleness(): void {
    const isStale = this.areStale()
    if (isStale && !this.#wasStale) this.#tell(() => true, 'stale')
    this.#wasStale = isStale
  }

  /** Copies few of them: there may be a million, and requests wait meanwhile. */
  survey(most: number): RuleSurvey {
    this.forgetExpired()
    const counts = Object.entries(this.#byKind).map(([kind, rules]) => [kind, rules.size] as const)
    const newest: Rule[] = []
    for (const rules of Object.values(this.#byKind)) {
      let older = rules.size - most
      for (const rule of rules.values()) if (older-- <= 0) newest.push(rule)
    }
    return { total: this.#size, byKind: new Map(counts), newest }
  }

  /** All rules in force, for a store that came back empty. */
  inForce(): Rule[] {
    this.forgetExpired()
    return Object.values(this.#byKind).flatMap((rules) => [...rules.values()])
  }

  /** Frees the memory of rules that no cookie can meet any more; called now and then. */
  forgetExpired(): void {
    const now = this.#clock.now()
    for (const rules of Object.values(this.#byKind)) {
      for (const [id, { expiresAt }] of rules) {
        if (expiresAt > now) continue
        rules.delete(id)
        this.#size--
      }
    }
  }

  /** @returns Whether it says more than what was known. */
  #keep(rule: Rule): boolean {
    const { kind, id } = parseRuleKey(rule.key)
    // A kind of a later release: nothing that this one could judge by.
    const rules = Object.hasOwn(this.#byKind, kind) ? this.#byKind[kind as RuleKind] : undefined
    if (rules === undefined) return false
    const known = rules.get(id)
    if (known !== undefined && known.before >= rule.before && known.expiresAt >= rule.expiresAt) return false
    if (known === undefined) this.#size++
    rules.set(id, {
      key: rule.key,
      // What ended a session first stays its reason.
      reason: known === undefined || rule.before > known.before ? rule.reason : known.reason,
      before: Math.max(rule.before, known?.before ?? 0),
      expiresAt: Math.max(rule.expiresAt, known?.expiresAt ?? 0),
    })
    return true
  }

  #tell(isOver: (session: SessionIdentity) => boolean, cause: 'rule' | 'stale'): void {
    for (const listener of this.#listeners) listener(isOver, cause)
  }
}

/** The parts of a rule's key; `id` is empty for `all`. */
export function parseRuleKey(key: RuleKey): { readonly kind: string; readonly id: string } {
  const end = key.indexOf(':')
  return end === -1 ? { kind: key, id: '' } : { kind: key.slice(0, end), id: key.slice(end + 1) }
}

/** Whether a rule ends a session of a client; {@link RuleSet.endOf} asks all rules at once. */
export function isAbout(
  { key, before }: Pick<Rule, 'key' | 'before'>,
  { sid, startedAt, subjectHash, asSessionHash, kid }: SessionIdentity,
  clientHash: string | undefined,
): boolean {
  if (startedAt >= before) return false
  const { kind, id } = parseRuleKey(key)
  switch (kind) {
    case 'sid':
      return id === sid
    case 'sub':
      return id === subjectHash
    case 'sub-without-sid':
      return id === subjectHash && asSessionHash === undefined
    case 'asid':
      return id === asSessionHash
    case 'kid':
      return id === kid
    case 'client':
      return id === clientHash
    default:
      return kind === 'all'
  }
}

function ending(rule: Rule | undefined, startedAt: number): Rule | undefined {
  return rule !== undefined && startedAt < rule.before ? rule : undefined
}
