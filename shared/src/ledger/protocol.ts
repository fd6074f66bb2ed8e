import type { SessionIdentity } from '../session-cookies.ts'
import {
  acknowledgeAfterSeconds,
  loginMemorySeconds,
  loginRepeatSeconds,
  maxParked,
  type Absent,
  type Commit,
  type Committed,
  type EndedSession,
  type Ended,
  type EndReason,
  type Judgement,
  type LoginClaim,
  type LogoutTokenClaim,
  type SessionEnd,
  type ShownGeneration,
  type Successors,
  type Superseded,
} from './ledger.ts'
import type { Rule } from './rules.ts'

/**
 * The refresh protocol as pure steps from record to record, the same for every store: a store only has to apply a step
 * atomically and tell the time. Row numbers are those of docs/sessions.md.
 */

/** One session as the stores keep it, as JSON. All instants are milliseconds on the store's clock. */
export interface SessionRecord {
  readonly startedAt: number
  readonly absoluteAt: number
  readonly idleMs: number
  /** The last activity that moved the idle deadline. */
  readonly activeAt: number
  readonly generation: number
  /** Cookies of recent generations, ascending, each sealed under the key of the generation before it. */
  readonly parked: readonly { readonly generation: number; readonly blob: string }[]
  /** The last commit or replay. */
  readonly givenAt: number
  /** The newest generation that the browser surely has: nothing is parked up to it, late commits included. */
  readonly acknowledged: number
  readonly lease?: { readonly id: string; readonly until: number } | undefined
  readonly doubt?: { readonly attempts: number; readonly retryAt: number } | undefined
  /** The store lost this session and took the cookie's word for it (row 15). */
  readonly adopted: boolean
  readonly ended?: EndReason | undefined
  /** Absent until the login is completed, and in records of a release before this one until they are shown again. */
  readonly owner?: SessionOwner | undefined
}

/** Whose session it is, by the hashes that rules go by; see `identityHash`. */
export interface SessionOwner {
  readonly subject: string
  readonly asSession?: string | undefined
  readonly client?: string | undefined
  /** The key that sealed the newest cookies. */
  readonly kid?: string | undefined
}

/** What the step knows besides the record. */
export interface StepContext {
  /** Milliseconds, the store's clock. */
  readonly now: number
  /** When this incarnation of the store began: sessions that started earlier may have been lost with the one before. */
  readonly incarnationAt: number
  /** Since when this process reaches the store without interruption; always, unless given. */
  readonly reachableSince?: number
  /** The store remembers nothing beyond calls in flight, so any session that it does not know is taken over. */
  readonly isForgetful?: boolean
  /** The rules that this process holds. */
  readonly endOf: (session: SessionIdentity) => EndReason | undefined
  /** Hash of the client that this process works for. */
  readonly clientHash?: string | undefined
}

/** The outcome of one step. A store writes `rule` before `record`, and both before it answers. */
export interface Step<Answer> {
  readonly answer: Answer
  /** The record afterwards; left out when it stays as it is. */
  readonly record?: SessionRecord
  readonly rule?: Rule
}

const activityStepMs = 60_000
const firstBackOffMs = 1_000
const longestBackOffMs = 30_000
/** After an interruption, holders of a success get this long to commit it before doubt is resolved by sending again. */
const lateCommitMs = 5_000

/** Row 1: the record of a session whose code is not redeemed yet. */
export function beginSession(now: number, absoluteSeconds: number, idleSeconds: number): SessionRecord {
  return {
    startedAt: now,
    absoluteAt: now + absoluteSeconds * 1000,
    idleMs: idleSeconds * 1000,
    activeAt: now,
    generation: 0,
    parked: [],
    givenAt: now,
    acknowledged: 0,
    adopted: false,
  }
}

/** Row 1, second half. */
export function completeSession(
  record: SessionRecord | undefined,
  identity: SessionIdentity,
  context: StepContext,
): Step<Ended | Absent | { readonly state: 'live' }> {
  if (record === undefined) return { answer: { state: 'absent' } }
  const owned = withOwner(record, identity, context)
  return deadlineStep(owned, identity, context) ?? { answer: { state: 'live' }, record: owned }
}

/** A record of an earlier release learns whose session it is when it is shown. */
function withOwner(record: SessionRecord, identity: SessionIdentity, context: StepContext): SessionRecord {
  return record.owner === undefined ? { ...record, owner: ownerOf(identity, context) } : record
}

function ownerOf(
  { subjectHash, asSessionHash, kid }: SessionIdentity,
  { clientHash }: Pick<StepContext, 'clientHash'>,
): SessionOwner {
  return {
    subject: subjectHash,
    ...(asSessionHash === undefined ? {} : { asSession: asSessionHash }),
    ...(clientHash === undefined ? {} : { client: clientHash }),
    ...(kid === undefined ? {} : { kid }),
  }
}

/** Rows 2, 3, 7 and 9 to 15. `newLease` is used when a lease is granted. */
export function showGeneration(
  known: SessionRecord | undefined,
  shown: ShownGeneration,
  newLease: string,
  context: StepContext,
): Step<Judgement> {
  const { now } = context
  let record = known ?? adopt(shown, context)
  if (record === undefined) {
    const reason = context.endOf(shown.identity)
    return { answer: reason === undefined ? { state: 'absent' } : { state: 'ended', reason } }
  }
  const over = deadlineStep(record, shown.identity, context)
  if (over !== undefined) return over
  record = withOwner(record, shown.identity, context)
  if (shown.isActivity && now - record.activeAt > activityStepMs) record = { ...record, activeAt: now }
  if (shown.generation < record.generation) {
    // Who only looks is given nothing, so nothing is on its way to a browser.
    return unlessSame(replay(record, shown.generation, shown.want === 'look' ? record.givenAt : now), known)
  }
  if (shown.generation > record.generation) {
    // Row 12: we sealed this cookie, so it is the store that is behind. What is parked stays: a late commit may fill the gap.
    record = { ...record, ...free, generation: shown.generation, givenAt: now }
  }
  if (isSettled(record, now - shown.ageMs()) && record.acknowledged < record.generation) {
    record = { ...record, parked: [], acknowledged: record.generation }
  }
  const step: Step<Judgement> =
    shown.want === 'look'
      ? {
          answer: { state: 'current', idleSecondsLeft: idleSecondsLeft(record, now) },
          record,
        }
      : grantLease(record, shown.leaseSeconds, newLease, context)
  return unlessSame(step, known)
}

/** Nothing is written where nothing has changed. */
function unlessSame<Answer>(step: Step<Answer>, known: SessionRecord | undefined): Step<Answer> {
  return step.record === known ? { answer: step.answer } : step
}

/** Row 4, by whichever process got a success for the generation. */
export function commitGeneration(
  known: SessionRecord | undefined,
  commit: Commit,
  context: StepContext,
): Step<Ended | Successors | Superseded | Committed> {
  const record = known ?? adopt(commit, context)
  // Its records outlive every cookie, so a session that is gone without a trace is over.
  if (record === undefined) return { answer: { state: 'ended', reason: context.endOf(commit.identity) ?? 'absolute' } }
  const over = deadlineStep(record, commit.identity, context)
  if (over !== undefined) return over
  const next = commit.generation + 1
  if (record.generation > commit.generation) {
    return replay(parkLate(record, next, commit.blob), commit.generation, context.now)
  }
  return {
    answer: { state: 'committed', idleSecondsLeft: idleSecondsLeft(record, context.now) },
    record: {
      ...record,
      ...free,
      generation: next,
      parked: [...record.parked, { generation: next, blob: commit.blob }].slice(-maxParked),
      givenAt: context.now,
      adopted: known === undefined || (record.adopted && record.lease?.id !== commit.lease),
      owner: ownerOf({ ...commit.identity, kid: commit.kid ?? commit.identity.kid }, context),
    },
  }
}

/** Row 5. A lease that was taken in doubt leaves the doubt behind. */
export function releaseLease(record: SessionRecord | undefined, lease: string): Step<undefined> {
  return record?.lease?.id === lease
    ? { answer: undefined, record: { ...record, lease: undefined } }
    : { answer: undefined }
}

/** Row 6. */
export function enterDoubt(record: SessionRecord | undefined, lease: string, now: number): Step<undefined> {
  return record?.lease?.id === lease ? { answer: undefined, record: inDoubt(record, now) } : { answer: undefined }
}

/** Row 8. */
export function refuseGeneration(
  record: SessionRecord | undefined,
  shown: { readonly sid: string; readonly generation: number; readonly lease: string },
  context: StepContext,
): Step<Ended | Successors | Superseded | { readonly state: 'not_mine' }> {
  if (record === undefined) return { answer: { state: 'not_mine' } }
  if (record.ended !== undefined) return { answer: { state: 'ended', reason: record.ended } }
  if (record.generation > shown.generation) return replay(record, shown.generation, context.now)
  if (record.lease?.id !== shown.lease) return { answer: { state: 'not_mine' } }
  return endStep(record, shown.sid, 'refused')
}

/**
 * Row 13. The record stays until the absolute deadline, so that no late commit can bring the session back; a session that
 * the store lost gets one as well, or its cookie would (row 15). What was parked goes out with the answer: whoever ends
 * the session revokes the newest refresh token.
 */
export function endSession(
  known: SessionRecord | undefined,
  { sid, reason, keepSeconds, withRule, generation }: EndedSession,
  now: number,
): Step<SessionEnd> {
  const record = known ?? beginSession(now, keepSeconds, keepSeconds)
  const successors = generation === undefined ? [] : successorsOf(record, generation)
  return {
    answer: {
      state: 'ended',
      ...(record.ended === undefined ? { isNew: true } : {}),
      ...(successors.length === 0 ? {} : { blobs: successors.map(({ blob }) => blob) }),
    },
    record: endRecord(record, reason),
    ...(withRule ? { rule: sessionRule(sid, reason, now + keepSeconds * 1000) } : {}),
  }
}

function endRecord(record: SessionRecord, reason: EndReason): SessionRecord {
  return { ...record, ...free, parked: [], ended: record.ended ?? reason }
}

/** The rule that makes a session over for every replica and every proxied request. */
export function sessionRule(sid: string, reason: EndReason, expiresAt: number): Rule {
  return { key: `sid:${sid}`, before: Number.MAX_SAFE_INTEGER, reason, expiresAt }
}

/** A pending login that was claimed; kept for {@link loginMemorySeconds}. */
export interface LoginRecord {
  readonly claimedAt: number
  readonly outcome?: string | undefined
  readonly settledAt?: number | undefined
}

/**
 * Claims the id of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6): once it is settled, it was used.
 * Until then every claim gets the instant of the first one, so that a repetition ends no session that began later.
 */
export function claimLogoutToken(
  record: LoginRecord | undefined,
  now: number,
): { readonly answer: LogoutTokenClaim; readonly record?: LoginRecord } {
  if (record === undefined || now - record.claimedAt >= loginMemorySeconds * 1000) {
    return { answer: { state: 'claimed', claimedAt: now }, record: { claimedAt: now } }
  }
  if (record.settledAt !== undefined) return { answer: { state: 'used' } }
  return { answer: { state: 'claimed', claimedAt: record.claimedAt } }
}

/** While a login is claimed this long without an outcome, its claimant is taken for dead. */
const loginClaimMs = 60_000

export function claimLogin(
  record: LoginRecord | undefined,
  now: number,
): { readonly answer: LoginClaim; readonly record?: LoginRecord } {
  if (record === undefined || now - record.claimedAt >= loginMemorySeconds * 1000) {
    return { answer: { state: 'claimed' }, record: { claimedAt: now } }
  }
  if (record.settledAt === undefined) {
    return { answer: { state: now - record.claimedAt < loginClaimMs ? 'pending' : 'used' } }
  }
  const isRepeatable = record.outcome !== undefined && now - record.settledAt < loginRepeatSeconds * 1000
  return { answer: isRepeatable ? { state: 'settled', outcome: record.outcome } : { state: 'used' } }
}

const free = { lease: undefined, doubt: undefined } as const

function idleSecondsLeft({ activeAt, idleMs }: SessionRecord, now: number): number {
  return Math.ceil((activeAt + idleMs - now) / 1000)
}

function isSettled(record: SessionRecord, now: number): boolean {
  return now >= record.givenAt + acknowledgeAfterSeconds * 1000
}

/** Row 15: a session older than this incarnation of the store may have been lost with the one before. */
function adopt(
  shown: Commit | ShownGeneration,
  { now, incarnationAt, isForgetful = false, endOf }: StepContext,
): SessionRecord | undefined {
  const isLost = shown.identity.startedAt < incarnationAt
  if (!(isLost || isForgetful) || endOf(shown.identity) !== undefined) return undefined
  return {
    startedAt: shown.identity.startedAt,
    absoluteAt: shown.absoluteDeadline * 1000,
    idleMs: shown.idleSeconds * 1000,
    activeAt: now,
    generation: shown.generation,
    parked: [],
    givenAt: 0,
    acknowledged: 0,
    adopted: isLost,
  }
}

/** Ends what is past a deadline or under a rule. */
function deadlineStep(
  record: SessionRecord,
  identity: SessionIdentity,
  { now, endOf }: StepContext,
): Step<Ended> | undefined {
  if (record.ended !== undefined) return { answer: { state: 'ended', reason: record.ended } }
  const ruled = endOf(identity)
  const reason =
    ruled ?? (now >= record.absoluteAt ? 'absolute' : now >= record.activeAt + record.idleMs ? 'idle' : undefined)
  if (reason === undefined) return undefined
  // A rule that ends it reaches its other cookies as well, unless it is about the key of this one.
  const isRuled = endOf({ ...identity, kid: undefined }) !== undefined
  if (isRuled) return { answer: { state: 'ended', reason }, record: endRecord(record, reason) }
  const { answer, ...written } = endStep(record, identity.sid, reason)
  return { answer: ruled === undefined ? answer : { state: 'ended', reason }, ...written }
}

function endStep(record: SessionRecord, sid: string, reason: EndReason): Step<Ended> {
  return {
    answer: { state: 'ended', reason, isNew: true },
    record: endRecord(record, reason),
    rule: sessionRule(sid, reason, record.absoluteAt),
  }
}

function grantLease(
  record: SessionRecord,
  leaseSeconds: number,
  id: string,
  { now, incarnationAt, reachableSince = -Infinity }: StepContext,
): Step<Judgement> & { readonly record: SessionRecord } {
  if (record.lease !== undefined && record.lease.until > now) return { answer: { state: 'held' }, record }
  // Row 6: the holder is silent past its lease.
  const current = record.lease === undefined ? record : inDoubt(record, record.lease.until)
  const isQuarantined = current.adopted && now < incarnationAt + leaseSeconds * 1000
  const isBackingOff =
    current.doubt !== undefined && now < Math.max(current.doubt.retryAt, reachableSince + lateCommitMs)
  if (isQuarantined || isBackingOff) return { answer: { state: 'held' }, record: current }
  return {
    answer: { state: 'leased', lease: id, inDoubt: current.doubt !== undefined || current.adopted },
    record: { ...current, lease: { id, until: now + leaseSeconds * 1000 } },
  }
}

function inDoubt(record: SessionRecord, since: number): SessionRecord {
  const attempts = (record.doubt?.attempts ?? 0) + 1
  const retryAt = since + Math.min(longestBackOffMs, firstBackOffMs * 2 ** (attempts - 1))
  return { ...record, lease: undefined, doubt: { attempts, retryAt } }
}

/** Rows 10 and 11: an old generation leads to the newest one if every step between is still parked. */
function replay(record: SessionRecord, generation: number, givenAt: number): Step<Successors | Superseded> {
  const chain = successorsOf(record, generation)
  if (chain.length === 0) return { answer: { state: 'superseded' }, record }
  return {
    answer: { state: 'successors', generation: record.generation, blobs: chain.map(({ blob }) => blob) },
    record: givenAt === record.givenAt ? record : { ...record, givenAt },
  }
}

/** What is parked from a generation to the newest one, or nothing if a step between is missing. */
function successorsOf({ parked, generation: newest }: SessionRecord, generation: number): SessionRecord['parked'] {
  const chain = parked.filter((entry) => entry.generation > generation)
  return chain.length === newest - generation ? chain : []
}

/** A commit that arrives after its own cookie advanced the ledger (row 12) still completes the chain. */
function parkLate(record: SessionRecord, generation: number, blob: string): SessionRecord {
  if (generation <= record.acknowledged || record.parked.some((entry) => entry.generation === generation)) return record
  // However late: the browser may have been cut off from a reachable process for just as long (row 12), and may be back at
  // the generation before. Only what it has shown a minute later is surely there.
  if (record.generation !== generation && !record.parked.some((entry) => entry.generation === generation + 1))
    return record
  const parked = [...record.parked, { generation, blob }].toSorted((a, b) => a.generation - b.generation)
  return { ...record, parked: parked.slice(-maxParked) }
}
