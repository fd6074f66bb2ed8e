import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Absent, HeldToken, Ledger, SessionEnd, Unknown } from './ledger.ts'
import { createDirectory, type DirectoryStore } from './directory.ts'
import {
  beginSession,
  claimLogin,
  claimLogoutToken,
  commitGeneration,
  completeSession,
  endSession,
  enterDoubt,
  refuseGeneration,
  releaseLease,
  sessionRule,
  showGeneration,
  type LoginRecord,
  type SessionRecord,
  type Step,
  type StepContext,
} from './protocol.ts'
import type { Rule, RuleSet } from './rules.ts'

/**
 * What a store has to do for a ledger: apply steps atomically, tell its own time, and carry rules to every replica. All
 * operations answer `{ state: 'unknown' }` when the store cannot be asked; none throws because of it.
 */
export interface LedgerStore extends DirectoryStore {
  readonly kind: string
  /**
   * Applies a step to a session's record atomically. The step may run more than once, and on the record of one sid only.
   * A rule is durable before the record is.
   */
  readonly stepSession: <Answer>(
    sid: string,
    step: (record: SessionRecord | undefined, context: StepContext) => Step<Answer>,
  ) => Promise<Answer | Unknown>
  deleteSession(sid: string): Promise<void>
  /** Applies a step to a pending login's record atomically. */
  readonly stepLogin: <Answer>(
    id: string,
    step: (record: LoginRecord | undefined, now: number) => { readonly answer: Answer; readonly record?: LoginRecord },
  ) => Promise<Answer | Unknown>
  /**
   * Makes a rule durable and known to this process, which heeds it even if the store cannot be asked.
   * @param build Given the store's time.
   */
  addRule(build: (now: number) => Rule): Promise<Unknown | { readonly state: 'added' }>
  putToken(token: HeldToken): Promise<Unknown | { readonly state: 'kept' }>
  readToken(
    sid: string,
    reference: string,
  ): Promise<Unknown | Absent | { readonly state: 'found'; readonly sealed: string }>
  deleteTokens(sid: string): Promise<void>
  close(): Promise<void>
}

/** Pauses; together about the life of a lease. */
const giveBackAfterSeconds = [0.5, 1, 2, 4, 8, 16]
const maxGivingBack = 200

/** The ledger over any store. */
export function createLedger(store: LedgerStore): Ledger {
  const { kind, rules, stepLogin } = store
  let givingBack = 0

  const stepSession: LedgerStore['stepSession'] = (sid, step) =>
    store.stepSession(sid, (record, context) => step(record, { ...context, clientHash: rules.clientHash }))

  /**
   * The answer may have got lost after the lease was written. Nobody was told of it, so the token is surely not sent
   * under it (row 5); without this, the session would wait until it is over, and then be in doubt.
   */
  async function giveBack(sid: string, lease: string): Promise<void> {
    if (givingBack >= maxGivingBack) return
    givingBack += 1
    for (const seconds of giveBackAfterSeconds) {
      await sleep(seconds * 1000, undefined, { ref: false })
      const given = await stepSession(sid, (record) => releaseLease(record, lease))
      if (given === undefined) break
    }
    givingBack -= 1
  }

  return {
    kind,
    rules,

    begin: (sid, { absoluteSeconds, idleSeconds }) =>
      stepSession(sid, (_, { now }) => ({
        answer: { state: 'begun', startedAt: now },
        record: beginSession(now, absoluteSeconds, idleSeconds),
      })),

    complete: (identity) => stepSession(identity.sid, (record, context) => completeSession(record, identity, context)),

    discard: (sid) => store.deleteSession(sid),

    async show(shown) {
      const newLease = randomBytes(12).toString('base64url')
      const judgement = await stepSession(shown.sid, (record, context) =>
        showGeneration(record, shown, newLease, context),
      )
      if (judgement.state === 'unknown' && shown.want === 'lease') void giveBack(shown.sid, newLease)
      return judgement
    },

    holds: (sid, lease) =>
      stepSession(sid, (record, { now }) => ({
        answer: { state: record?.lease?.id === lease && record.lease.until > now ? 'held' : 'lost' },
      })),

    commit: (commit) => stepSession(commit.sid, (record, context) => commitGeneration(record, commit, context)),

    async release(sid, lease) {
      await stepSession(sid, (record) => releaseLease(record, lease))
    },

    async doubt(sid, lease) {
      await stepSession(sid, (record, { now }) => enterDoubt(record, lease, now))
    },

    refuse: (sid, generation, lease) =>
      stepSession(sid, (record, context) => refuseGeneration(record, { sid, generation, lease }, context)),

    async end(session) {
      const { ifKnown = false } = session
      const ended = await stepSession<Absent | SessionEnd>(session.sid, (record, { now }) =>
        record === undefined && ifKnown ? { answer: { state: 'absent' } } : endSession(record, session, now),
      )
      // The rule is written: what goes now, or else when it expires, nobody can use any more.
      if (ended.state === 'ended' && session.withRule) await store.deleteTokens(session.sid)
      if (ended.state === 'unknown' && session.withRule && !ifKnown) {
        // The rule alone, if that can be written, and in this process in any case.
        const { sid, reason, keepSeconds } = session
        await store.addRule((now) => sessionRule(sid, reason, now + keepSeconds * 1000))
      }
      return ended
    },

    async addRule(build) {
      let rule: Rule | undefined
      const added = await store.addRule((now) => (rule = build(now)))
      return added.state === 'unknown' || rule === undefined ? { state: 'unknown' } : { state: 'added', rule }
    },

    claimLogoutToken: (id) => stepLogin(logoutTokenKey(id), claimLogoutToken),

    settleLogoutToken: (id) =>
      stepLogin(logoutTokenKey(id), (record, now) => ({
        answer: { state: 'settled' },
        record: { claimedAt: record?.claimedAt ?? now, settledAt: now },
      })),

    directory: createDirectory(store),

    claimLogin: (id) => stepLogin(id, claimLogin),

    async settleLogin(id, outcome) {
      await stepLogin(id, (record, now) => ({
        answer: undefined,
        ...(record === undefined ? {} : { record: { ...record, outcome, settledAt: now } }),
      }))
    },

    putToken: (token) => store.putToken(token),
    readToken: (sid, reference) => store.readToken(sid, reference),

    close: () => store.close(),
  }
}

/** No login's id, which are hashes in base64url, is like this. */
function logoutTokenKey(id: string): string {
  return `logout-token.${id}`
}

/** The context of a step, for stores. */
export function stepContext(now: number, incarnationAt: number, rules: RuleSet): StepContext {
  return { now, incarnationAt, endOf: (session) => rules.endOf(session) }
}
