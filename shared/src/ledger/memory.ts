import type { Clock } from '../clock.ts'
import { loginMemorySeconds, type Ledger } from './ledger.ts'
import { createMemoryTokens } from './memory-tokens.ts'
import type { LoginRecord, SessionRecord } from './protocol.ts'
import { createMemoryDirectory } from './memory-directory.ts'
import { RuleSet, type RuleSettings } from './rules.ts'
import { createLedger, stepContext, type LedgerStore } from './store.ts'

/**
 * The ledger of one process, for tests and trials: a restart forgets everything. It takes the same steps as the stores
 * that last, so what holds here holds there.
 */
export function createMemoryLedger(clock: Clock, settings?: RuleSettings): Ledger {
  return createLedger(createMemoryStore(clock, settings))
}

/** How often rules are looked through for expired ones. */
const sweepMs = 60_000

function createMemoryStore(clock: Clock, settings: RuleSettings | undefined): LedgerStore {
  const sessions = new Map<string, SessionRecord>()
  const logins = new Map<string, LoginRecord>()
  const rules = new RuleSet(clock, undefined, settings)
  const incarnationAt = clock.now()
  let rulesSweptAt = incarnationAt

  /** Insertion order is expiry order: all sessions have the same absolute life. */
  function forgetOld(now: number): void {
    if (now - rulesSweptAt >= sweepMs) {
      rulesSweptAt = now
      rules.forgetExpired()
    }
    for (const [sid, { absoluteAt }] of sessions) {
      if (absoluteAt > now) break
      sessions.delete(sid)
    }
    for (const [id, { claimedAt }] of logins) {
      if (claimedAt + loginMemorySeconds * 1000 > now) break
      logins.delete(id)
    }
    rules.forgetExpired()
  }

  return {
    kind: 'memory',
    ...createMemoryTokens(clock),
    ...createMemoryDirectory(rules, clock, () => sessions),
    async stepSession(sid, step) {
      const now = clock.now()
      const { answer, record, rule } = step(sessions.get(sid), stepContext(now, incarnationAt, rules))
      if (rule !== undefined) rules.add(rule)
      if (record !== undefined) {
        if (!sessions.has(sid)) forgetOld(now)
        sessions.set(sid, record)
      }
      return answer
    },
    async deleteSession(sid) {
      sessions.delete(sid)
    },
    async stepLogin(id, step) {
      const now = clock.now()
      const { answer, record } = step(logins.get(id), now)
      if (record !== undefined) {
        if (!logins.has(id)) forgetOld(now)
        logins.set(id, record)
      }
      return answer
    },
    async addRule(build) {
      rules.add(build(clock.now()))
      return { state: 'added' }
    },
    async close() {},
  }
}
