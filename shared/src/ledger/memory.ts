import { randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { SessionIdentity } from '../session-cookies.ts'
import {
  acknowledgeAfterSeconds,
  loginMemorySeconds,
  loginRepeatSeconds,
  maxParked,
  type Commit,
  type EndReason,
  type Ended,
  type Judgement,
  type Ledger,
  type LoginClaim,
  type ShownGeneration,
  type Successors,
  type Superseded,
} from './ledger.ts'
import { RuleSet } from './rules.ts'

interface SessionRecord {
  readonly startedAt: number
  readonly absoluteAt: number
  readonly idleMs: number
  activeAt: number
  generation: number
  /** Cookies of recent generations, ascending, each sealed under the key of the generation before it. */
  parked: { readonly generation: number; readonly blob: string }[]
  /** The last commit or replay. */
  givenAt: number
  lease?: { readonly id: string; readonly until: number } | undefined
  doubt?: { readonly attempts: number; readonly retryAt: number } | undefined
  /** The store lost this session and took the cookie's word for it (row 15). */
  adopted: boolean
  ended?: { readonly reason: EndReason; readonly keepUntil: number } | undefined
}

interface LoginRecord {
  readonly claimedAt: number
  outcome?: string | undefined
  settledAt?: number | undefined
}

/** While a login is claimed this long without an outcome, its claimant is taken for dead. */
const loginClaimMs = 60_000
const activityStepMs = 60_000
const firstBackOffMs = 1_000
const longestBackOffMs = 30_000

/**
 * The ledger of one process, for tests and trials: a restart forgets everything. It follows the same rules as the
 * stores that last, so what holds here holds there.
 */
export function createMemoryLedger(clock: Clock): Ledger {
  const sessions = new Map<string, SessionRecord>()
  const logins = new Map<string, LoginRecord>()
  const rules = new RuleSet(clock)
  /** Sessions older than this were known to an earlier incarnation of the store. */
  const incarnationAt = clock.now()

  function adopt({ identity, absoluteDeadline, idleSeconds }: Commit | ShownGeneration): SessionRecord | undefined {
    if (identity.startedAt >= incarnationAt || rules.endOf(identity) !== undefined) return undefined
    const now = clock.now()
    const record: SessionRecord = {
      startedAt: identity.startedAt,
      absoluteAt: absoluteDeadline * 1000,
      idleMs: idleSeconds * 1000,
      activeAt: now,
      generation: 0,
      parked: [],
      givenAt: now,
      adopted: true,
    }
    sessions.set(identity.sid, record)
    return record
  }

  function endRecord(sid: string, record: SessionRecord | undefined, reason: EndReason, keepUntil: number): Ended {
    rules.add({ key: `sid:${sid}`, before: Number.MAX_SAFE_INTEGER, reason, expiresAt: keepUntil })
    if (record !== undefined) closeRecord(record, reason, keepUntil)
    return { state: 'ended', reason }
  }

  function closeRecord(record: SessionRecord, reason: EndReason, keepUntil: number): void {
    record.ended ??= { reason, keepUntil }
    record.parked = []
    record.lease = undefined
    record.doubt = undefined
  }

  /** Ends what is past a deadline or under a rule; the record must not be used further then. */
  function judgeDeadlines(record: SessionRecord, identity: SessionIdentity): Ended | undefined {
    if (record.ended !== undefined) return { state: 'ended', reason: record.ended.reason }
    const now = clock.now()
    const reason =
      rules.endOf(identity) ??
      (now >= record.absoluteAt ? 'absolute' : now >= record.activeAt + record.idleMs ? 'idle' : undefined)
    return reason === undefined ? undefined : endRecord(identity.sid, record, reason, record.absoluteAt)
  }

  function forgetOld(): void {
    const now = clock.now()
    for (const [sid, record] of sessions) {
      // Insertion order is expiry order: all sessions have the same absolute life.
      if (record.absoluteAt > now) break
      sessions.delete(sid)
    }
    for (const [id, { claimedAt }] of logins) {
      if (claimedAt + loginMemorySeconds * 1000 > now) break
      logins.delete(id)
    }
  }

  return {
    kind: 'memory',
    rules,

    async begin(sid, { absoluteSeconds, idleSeconds }) {
      forgetOld()
      const now = clock.now()
      sessions.set(sid, {
        startedAt: now,
        absoluteAt: now + absoluteSeconds * 1000,
        idleMs: idleSeconds * 1000,
        activeAt: now,
        generation: 0,
        parked: [],
        givenAt: now,
        adopted: false,
      })
      return { state: 'begun', startedAt: now }
    },

    async complete(identity) {
      const record = sessions.get(identity.sid)
      if (record === undefined) return { state: 'absent' }
      return judgeDeadlines(record, identity) ?? { state: 'live' }
    },

    async discard(sid) {
      sessions.delete(sid)
    },

    async show(shown) {
      const { sid, generation } = shown
      let record = sessions.get(sid)
      if (record === undefined) {
        record = adopt(shown)
        if (record === undefined)
          return rules.endOf(shown.identity) === undefined ? { state: 'absent' } : ruleEnd(shown)
        record.generation = generation
      }
      const ended = judgeDeadlines(record, shown.identity)
      if (ended !== undefined) return ended
      const now = clock.now()
      if (shown.isActivity && now - record.activeAt > activityStepMs) record.activeAt = now
      if (generation < record.generation) return replay(record, generation, now)
      if (generation > record.generation) {
        // Row 12: we sealed this cookie, so the store lost a commit.
        Object.assign(record, { generation, parked: [], lease: undefined, doubt: undefined, givenAt: now })
      }
      if (now >= record.givenAt + acknowledgeAfterSeconds * 1000) record.parked = []
      if (shown.want === 'look') {
        return { state: 'current', idleSecondsLeft: Math.ceil((record.activeAt + record.idleMs - now) / 1000) }
      }
      return grantLease(record, shown, now)
    },

    async holds(sid, lease) {
      const held = sessions.get(sid)?.lease
      return { state: held?.id === lease && held.until > clock.now() ? 'held' : 'lost' }
    },

    async commit(commit) {
      const { sid, generation, blob, lease, identity } = commit
      const known = sessions.get(sid)
      const record = known ?? adopt(commit)
      if (record === undefined) return { state: 'ended', reason: rules.endOf(identity) ?? 'absolute' }
      if (known === undefined) record.generation = generation
      const ended = judgeDeadlines(record, identity)
      if (ended !== undefined) return ended
      const now = clock.now()
      if (record.generation > generation) {
        parkLate(record, generation + 1, blob, now)
        return replay(record, generation, now)
      }
      record.parked = [...record.parked, { generation: generation + 1, blob }].slice(-maxParked)
      record.adopted = known === undefined || (record.adopted && record.lease?.id !== lease)
      Object.assign(record, { generation: generation + 1, givenAt: now, lease: undefined, doubt: undefined })
      return { state: 'committed' }
    },

    async release(sid, lease) {
      const record = sessions.get(sid)
      // A lease that was taken in doubt leaves the doubt behind (row 5).
      if (record?.lease?.id === lease) record.lease = undefined
    },

    async doubt(sid, lease) {
      const record = sessions.get(sid)
      if (record?.lease?.id === lease) enterDoubt(record, clock.now())
    },

    async refuse(sid, generation, lease) {
      const record = sessions.get(sid)
      if (record === undefined) return { state: 'not_mine' }
      if (record.ended !== undefined) return { state: 'ended', reason: record.ended.reason }
      if (record.generation > generation) return replay(record, generation, clock.now())
      if (record.lease?.id !== lease) return { state: 'not_mine' }
      return endRecord(sid, record, 'refused', record.absoluteAt)
    },

    async end({ sid, reason, keepSeconds, withRule }) {
      const record = sessions.get(sid)
      const keepUntil = clock.now() + keepSeconds * 1000
      if (withRule) endRecord(sid, record, reason, keepUntil)
      else if (record !== undefined) closeRecord(record, reason, keepUntil)
      return { state: 'ended' }
    },

    async claimLogin(id): Promise<LoginClaim> {
      forgetOld()
      const now = clock.now()
      const known = logins.get(id)
      if (known === undefined) {
        logins.set(id, { claimedAt: now })
        return { state: 'claimed' }
      }
      if (known.settledAt === undefined) return { state: now - known.claimedAt < loginClaimMs ? 'pending' : 'used' }
      if (known.outcome === undefined || now - known.settledAt >= loginRepeatSeconds * 1000) return { state: 'used' }
      return { state: 'settled', outcome: known.outcome }
    },

    async settleLogin(id, outcome) {
      const known = logins.get(id)
      if (known !== undefined) Object.assign(known, { outcome, settledAt: clock.now() })
    },

    async close() {},
  }

  function ruleEnd({ identity }: ShownGeneration): Ended {
    return { state: 'ended', reason: rules.endOf(identity) ?? 'revoked' }
  }

  function grantLease(record: SessionRecord, { leaseSeconds }: ShownGeneration, now: number): Judgement {
    if (record.lease !== undefined && record.lease.until > now) return { state: 'held' }
    if (record.lease !== undefined) enterDoubt(record, record.lease.until)
    if (record.adopted && now < incarnationAt + leaseSeconds * 1000) return { state: 'held' }
    if (record.doubt !== undefined && now < record.doubt.retryAt) return { state: 'held' }
    const id = randomBytes(12).toString('base64url')
    record.lease = { id, until: now + leaseSeconds * 1000 }
    return { state: 'leased', lease: id, inDoubt: record.doubt !== undefined || record.adopted }
  }
}

function enterDoubt(record: SessionRecord, since: number): void {
  const attempts = (record.doubt?.attempts ?? 0) + 1
  record.lease = undefined
  record.doubt = { attempts, retryAt: since + Math.min(longestBackOffMs, firstBackOffMs * 2 ** (attempts - 1)) }
}

/** Rows 10 and 11: an old generation leads to the newest one if every step between is still parked. */
function replay(record: SessionRecord, generation: number, now: number): Successors | Superseded {
  const chain = record.parked.filter((entry) => entry.generation > generation)
  if (chain.length !== record.generation - generation) return { state: 'superseded' }
  record.givenAt = now
  return { state: 'successors', generation: record.generation, blobs: chain.map((entry) => entry.blob) }
}

/** A commit that arrives after its own cookie advanced the ledger (row 12) still completes the chain. */
function parkLate(record: SessionRecord, generation: number, blob: string, now: number): void {
  if (record.parked.some((entry) => entry.generation === generation)) return
  const belongs =
    record.generation === generation
      ? now < record.givenAt + acknowledgeAfterSeconds * 1000
      : record.parked.some((entry) => entry.generation === generation + 1)
  if (!belongs) return
  record.parked = [...record.parked, { generation, blob }]
    .toSorted((a, b) => a.generation - b.generation)
    .slice(-maxParked)
}
