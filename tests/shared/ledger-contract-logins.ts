import { describe, expect, it } from '@jest/globals'
import { loginMemorySeconds, loginRepeatSeconds, type Ledger } from '@token-handler/shared'
import type { FakeClock } from '../support/clock.ts'
import { randomSid } from './ledger-session.ts'

/** What every ledger promises of pending logins: each is used once, and its outcome can be fetched again for a minute. */
export function describeLogins(current: () => { ledger: Ledger; clock: FakeClock }): void {
  describe('a pending login', () => {
    it('[B-ST-02] is claimed by one of many who come at the same time', async () => {
      const { ledger } = current()
      const id = randomSid()
      const claims = await Promise.all(Array.from({ length: 20 }, () => ledger.claimLogin(id)))
      expect(claims.filter(({ state }) => state === 'claimed')).toHaveLength(1)
      expect(claims.filter(({ state }) => state === 'pending')).toHaveLength(19)
    })

    it('gives its outcome to whoever comes again within a minute, and then no more', async () => {
      const { ledger, clock } = current()
      const id = randomSid()
      await ledger.claimLogin(id)
      await ledger.settleLogin(id, 'sealed outcome')
      expect(await ledger.claimLogin(id)).toEqual({ state: 'settled', outcome: 'sealed outcome' })
      clock.advance(loginRepeatSeconds * 1000 - 1)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'settled', outcome: 'sealed outcome' })
      clock.advance(1)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'used' })
    })

    it('is used once, also without an outcome', async () => {
      const { ledger } = current()
      const id = randomSid()
      await ledger.claimLogin(id)
      await ledger.settleLogin(id, undefined)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'used' })
    })

    it('counts as used when its claimant is silent for a minute', async () => {
      const { ledger, clock } = current()
      const id = randomSid()
      await ledger.claimLogin(id)
      clock.advance(59_999)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'pending' })
      clock.advance(1)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'used' })
    })

    it('is remembered as used for as long as its cookie can live', async () => {
      const { ledger, clock } = current()
      const id = randomSid()
      await ledger.claimLogin(id)
      await ledger.settleLogin(id, 'x')
      expect(loginMemorySeconds).toBeGreaterThan(600)
      clock.advanceSeconds(loginMemorySeconds - 1)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'used' })
    })

    it('cannot be settled by somebody who did not claim it', async () => {
      const { ledger } = current()
      const id = randomSid()
      await ledger.settleLogin(id, 'x')
      expect(await ledger.claimLogin(id)).toEqual({ state: 'claimed' })
    })

    it('does not disturb another', async () => {
      const { ledger } = current()
      await ledger.claimLogin(randomSid())
      expect(await ledger.claimLogin(randomSid())).toEqual({ state: 'claimed' })
    })
  })
}
