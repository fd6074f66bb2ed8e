import { describe, expect, it } from '@jest/globals'
import type { HeldToken, Ledger } from '@token-handler/shared'
import type { FakeClock } from '../support/clock.ts'
import { beginSession, randomSid, type LedgerSession } from './ledger-session.ts'

/** What every ledger promises of access tokens that are too large for cookies. */
export function describeTokens(current: () => { ledger: Ledger; clock: FakeClock; session: LedgerSession }): void {
  async function put({ sid }: LedgerSession, lifeSeconds = 300, sealed = `sealed ${randomSid()}`): Promise<HeldToken> {
    const { ledger, clock } = current()
    const token = { sid, reference: randomSid(), sealed, expiresAt: clock.now() + lifeSeconds * 1000 }
    expect(await ledger.putToken(token)).toEqual({ state: 'kept' })
    return token
  }
  const read = ({ sid, reference }: HeldToken): ReturnType<Ledger['readToken']> =>
    current().ledger.readToken(sid, reference)

  describe('an access token that the ledger holds', () => {
    it('is found by session and reference, whatever its size', async () => {
      const { session } = current()
      const [small, large] = [await put(session), await put(session, 300, 'x'.repeat(100_000))]
      expect(await read(small)).toEqual({ state: 'found', sealed: small.sealed })
      expect(await read(large)).toEqual({ state: 'found', sealed: large.sealed })
    })

    it('is found by nobody with another session or reference', async () => {
      const token = await put(current().session)
      expect(await read({ ...token, sid: randomSid() })).toEqual({ state: 'absent' })
      expect(await read({ ...token, reference: randomSid() })).toEqual({ state: 'absent' })
    })

    it('stays beside the token of the next generation, which may never have reached the browser', async () => {
      const { session } = current()
      const before = await put(session)
      await session.refreshTo(1)
      const after = await put(session)
      expect([await read(before), await read(after)]).toMatchObject([{ state: 'found' }, { state: 'found' }])
    })

    it('is gone when it has expired, whatever comes after it', async () => {
      const { clock, session } = current()
      const [first, second] = [await put(session, 100), await put(session, 300)]
      clock.advanceSeconds(100)
      await put(session, 50)
      expect([await read(first), await read(second)]).toMatchObject([{ state: 'absent' }, { state: 'found' }])
      clock.advanceSeconds(200)
      expect(await read(second)).toEqual({ state: 'absent' })
    })

    it('goes with its session, and with no other', async () => {
      const { ledger, session } = current()
      const other = await beginSession(ledger)
      const [gone, kept] = [await put(session), await put(other)]
      await session.end('logout')
      expect([await read(gone), await read(kept)]).toMatchObject([{ state: 'absent' }, { state: 'found' }])
    })

    it('runs out where a session ends softly', async () => {
      const { session } = current()
      const token = await put(session)
      await session.end('replaced', false)
      expect(await read(token)).toMatchObject({ state: 'found' })
    })
  })
}
