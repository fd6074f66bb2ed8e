import type { SessionRecord, Step, StepContext } from '../../../shared/src/ledger/protocol.ts'
import { readSession, writeSession } from '../../../shared/src/ledger/stored-record.ts'

/** One session's record and rule, as a store holds them, for several replicas that reach it or not. */
export class ModelStore {
  now = 1000
  #text: string | undefined
  #isRuled = false
  #incarnation = 0
  #incarnationAt = 0
  #before: { readonly text: string | undefined; readonly isRuled: boolean } | undefined
  /** What was read last, for it is read far more often than it changes. */
  #read: { text: string | undefined; incarnation: number; record: SessionRecord | undefined } | undefined
  readonly replicas: ModelReplica[]

  constructor(replicas: number) {
    this.replicas = Array.from({ length: replicas }, () => new ModelReplica())
  }

  /** Applies a step of the real protocol, atomically, on this replica's behalf. */
  step<Answer>(
    replica: ModelReplica,
    take: (record: SessionRecord | undefined, context: StepContext) => Step<Answer>,
  ): Answer {
    const endOf = (): 'logout' | undefined => (replica.knowsRule ? 'logout' : undefined)
    const { now } = this
    const context: StepContext = {
      now,
      incarnationAt: this.#incarnationAt,
      reachableSince: replica.reachableSince,
      endOf,
    }
    const { answer, record, rule } = take(this.record, context)
    if (record !== undefined || rule !== undefined) this.#before = { text: this.#text, isRuled: this.#isRuled }
    if (rule !== undefined) this.addRule(replica)
    if (record !== undefined) this.#text = writeSession(record, String(this.#incarnation))
    return answer
  }

  get record(): SessionRecord | undefined {
    const { text, incarnation } = this.#read ?? {}
    if (text !== this.#text || incarnation !== this.#incarnation) {
      const record = this.#text === undefined ? undefined : readSession(this.#text, String(this.#incarnation))
      this.#read = { text: this.#text, incarnation: this.#incarnation, record }
    }
    return this.#read?.record
  }

  addRule(replica: ModelReplica): void {
    this.#isRuled = true
    replica.knowsRule = true
  }

  /** Rules reach every replica that is connected. */
  propagate(): void {
    for (const each of this.replicas) if (each.isConnected && this.#isRuled) each.knowsRule = true
  }

  connect(replica: ModelReplica): void {
    replica.isConnected = true
    replica.reachableSince = this.now
    if (replica.knowsRule) this.#isRuled = true
    this.propagate()
  }

  /** A new process in place of one that died. */
  restart(replica: ModelReplica): void {
    replica.knowsRule = false
    replica.reachableSince = this.now
    this.propagate()
  }

  get canRegress(): boolean {
    return this.#before !== undefined
  }

  /** Everything is gone; what connected replicas remember is put back before anything else happens. */
  flush(): void {
    this.#lose(undefined, false)
  }

  /** The last write is gone, as in a failover. */
  regress(): void {
    this.#lose(this.#before?.text, this.#before?.isRuled ?? false)
  }

  #lose(text: string | undefined, isRuled: boolean): void {
    this.#text = text
    this.#before = undefined
    this.#incarnation += 1
    this.#incarnationAt = this.now
    this.#isRuled = isRuled || this.replicas.some((each) => each.isConnected && each.knowsRule)
    this.propagate()
  }
}

export class ModelReplica {
  isConnected = true
  reachableSince = -Infinity
  /** Whether the process holds the rule that the session is over. */
  knowsRule = false
}
