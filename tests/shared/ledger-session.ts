import { randomBytes } from 'node:crypto'
import type { EndReason, Judgement, Ledger, SessionIdentity } from '@token-handler/shared'
import type { FakeClock } from '../support/clock.ts'

/** A ledger, and what a test does to its store. */
export interface LedgerUnderTest {
  readonly ledger: Ledger
  /** The store loses all that it holds, as a flush or a deleted file does; the answer is the ledger from then on. */
  lose(): Promise<Ledger>
  close(): Promise<void>
}

/** Makes a ledger over an empty store whose time is the given clock. */
export type CreateLedger = (clock: FakeClock) => Promise<LedgerUnderTest>

export const leaseSeconds = 50
export const absoluteSeconds = 43_200
export const idleSeconds = 3600

/** One session of one browser: asks the ledger what the agent would ask, by generation. */
export interface LedgerSession {
  readonly sid: string
  readonly identity: SessionIdentity
  /** `GET session`: judges and acknowledges. */
  look(generation: number, options?: { isActivity?: boolean; ageMs?: number }): Promise<Judgement>
  /** Refresh: asks for the lease. */
  ask(generation: number, options?: { isActivity?: boolean }): Promise<Judgement>
  /** Asks for the lease and fails the test without it. */
  lease(generation: number): Promise<{ id: string; inDoubt: boolean }>
  /** Commits the successor of `generation`; its blob is `blob N` unless given. */
  commit(generation: number, lease?: string, blob?: string): ReturnType<Ledger['commit']>
  /** Lease and commit in one, up to `generation`. */
  refreshTo(generation: number): Promise<void>
  end(reason?: EndReason, withRule?: boolean): ReturnType<Ledger['end']>
  /** The same session on another ledger: another replica, or the store after a loss. */
  on(ledger: Ledger): LedgerSession
}

export function randomSid(): string {
  return randomBytes(16).toString('base64url')
}

export async function beginSession(ledger: Ledger): Promise<LedgerSession> {
  const sid = randomSid()
  const begun = await ledger.begin(sid, { absoluteSeconds, idleSeconds })
  if (begun.state !== 'begun') throw new Error('the store cannot be asked')
  const identity = { sid, startedAt: begun.startedAt, subjectHash: `subject of ${sid}`, asSessionHash: `as ${sid}` }
  await ledger.complete(identity)
  return sessionOf(identity, ledger)
}

export function sessionOf(identity: SessionIdentity, ledger: Ledger): LedgerSession {
  const { sid, startedAt } = identity
  const facts = { sid, identity, absoluteDeadline: Math.floor(startedAt / 1000) + absoluteSeconds, idleSeconds }
  const show = (generation: number, want: 'look' | 'lease', isActivity: boolean, ageMs = 0): Promise<Judgement> =>
    ledger.show({ ...facts, generation, want, leaseSeconds, isActivity, ageMs: () => ageMs })
  let generation = 0
  const session: LedgerSession = {
    sid,
    identity,
    look: (shown, { isActivity = false, ageMs = 0 } = {}) => show(shown, 'look', isActivity, ageMs),
    ask: (shown, { isActivity = true } = {}) => show(shown, 'lease', isActivity),
    async lease(shown) {
      const judgement = await session.ask(shown)
      if (judgement.state !== 'leased') throw new Error(`no lease for ${shown}: ${judgement.state}`)
      return { id: judgement.lease, inDoubt: judgement.inDoubt }
    },
    commit: (spent, lease = 'no lease', blob = `blob ${spent + 1}`) =>
      ledger.commit({ ...facts, generation: spent, lease, blob }),
    async refreshTo(last) {
      for (; generation < last; generation++) await session.commit(generation, (await session.lease(generation)).id)
    },
    end: (reason = 'logout', withRule = true) => ledger.end({ sid, reason, keepSeconds: absoluteSeconds, withRule }),
    on: (other) => sessionOf(identity, other),
  }
  return session
}
