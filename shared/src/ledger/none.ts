import type { Clock } from '../clock.ts'
import { loginMemorySeconds, type Ledger } from './ledger.ts'
import { createMemoryTokens } from './memory-tokens.ts'
import type { LoginRecord, SessionRecord } from './protocol.ts'
import { createMemoryDirectory } from './memory-directory.ts'
import { RuleSet, type RuleSettings } from './rules.ts'
import { createLedger, type LedgerStore } from './store.ts'

/**
 * No ledger: what a session is, its cookies say. This process remembers only calls that are under way and what they gave
 * a moment ago, so that requests which arrive together share one refresh. {@link promisesWithoutLedger} tells the price.
 */
export function createNoLedger(clock: Clock, settings?: RuleSettings): Ledger {
  return createLedger(createForgetfulStore(clock, settings))
}

/** What does not hold with `ledger: {type: none}`, for the log at start and docs/sessions.md. */
export const promisesWithoutLedger: readonly string[] = [
  'refreshes at two processes at once send one refresh token twice; an authorization server that rotates ends the session',
  'a refresh whose answer was lost, or that a restart cut off, can lose the session',
  'logout, and every other end of a session, is known to this process only and forgotten at its restart; a copy of the cookies goes on elsewhere',
  'replaced cookies are not noticed, so a stolen refresh cookie shows only if the authorization server detects the reuse',
  'the idle deadline does not act; the absolute one does',
  'a pending login is used once in this process only',
]

/** Longer than any lease, and than the time within which a generation is handed out again. */
const memoryMs = 180_000

function createForgetfulStore(clock: Clock, settings: RuleSettings | undefined): LedgerStore {
  // In the order of their last change, which is the order in which they are forgotten.
  const sessions = new Map<string, { readonly record: SessionRecord; readonly changedAt: number }>()
  const logins = new Map<string, LoginRecord>()
  const rules = new RuleSet(clock, undefined, settings)

  function* recorded(): Iterable<readonly [string, SessionRecord]> {
    for (const [sid, { record }] of sessions) yield [sid, record]
  }

  function forgetOld(now: number): void {
    for (const [sid, { changedAt }] of sessions) {
      if (changedAt + memoryMs > now) break
      sessions.delete(sid)
    }
    for (const [id, { claimedAt }] of logins) {
      if (claimedAt + loginMemorySeconds * 1000 > now) break
      logins.delete(id)
    }
    rules.forgetExpired()
  }

  return {
    kind: 'none',
    ...createMemoryTokens(clock),
    ...createMemoryDirectory(rules, clock, recorded),
    async stepSession(sid, step) {
      const now = clock.now()
      forgetOld(now)
      const { answer, record, rule } = step(sessions.get(sid)?.record, {
        now,
        incarnationAt: -Infinity,
        isForgetful: true,
        endOf: (session) => rules.endOf(session),
      })
      if (rule !== undefined) rules.add(rule)
      if (record !== undefined) {
        sessions.delete(sid)
        sessions.set(sid, { record, changedAt: now })
      }
      return answer
    },
    async deleteSession(sid) {
      sessions.delete(sid)
    },
    async stepLogin(id, step) {
      const now = clock.now()
      forgetOld(now)
      const { answer, record } = step(logins.get(id), now)
      if (record !== undefined) logins.set(id, record)
      return answer
    },
    async addRule(build) {
      rules.add(build(clock.now()))
      return { state: 'added' }
    },
    async close() {},
  }
}
