import type { Clock } from '../clock.ts'
import type { HeldToken } from './ledger.ts'
import type { LedgerStore } from './store.ts'

/** Tokens that lie in the memory of this process; those that have expired go when their session gets the next one. */
export function createMemoryTokens(clock: Clock): Pick<LedgerStore, 'putToken' | 'readToken' | 'deleteTokens'> {
  const bySession = new Map<string, Map<string, HeldToken>>()
  let sweptAt = clock.now()

  function forgetExpired(): void {
    const now = clock.now()
    if (now - sweptAt < sweepMs) return
    sweptAt = now
    for (const [sid, tokens] of bySession) {
      for (const [reference, { expiresAt }] of tokens) if (expiresAt <= now) tokens.delete(reference)
      if (tokens.size === 0) bySession.delete(sid)
    }
  }

  return {
    async putToken(token) {
      forgetExpired()
      const tokens = bySession.get(token.sid) ?? new Map<string, HeldToken>()
      bySession.set(token.sid, tokens.set(token.reference, token))
      return { state: 'kept' }
    },
    async readToken(sid, reference) {
      const token = bySession.get(sid)?.get(reference)
      if (token === undefined || token.expiresAt <= clock.now()) return { state: 'absent' }
      return { state: 'found', sealed: token.sealed }
    },
    async deleteTokens(sid) {
      bySession.delete(sid)
    },
  }
}

const sweepMs = 60_000
