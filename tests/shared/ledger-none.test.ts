import { beforeEach, describe, expect, it } from '@jest/globals'
import { createNoLedger, type Ledger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import {
  absoluteSeconds,
  beginSession,
  leaseSeconds,
  randomSid,
  sessionOf,
  type LedgerSession,
} from './ledger-session.ts'

describe('no ledger', () => {
  let clock: FakeClock
  let ledger: Ledger
  let session: LedgerSession

  beforeEach(async () => {
    clock = fakeClock()
    ledger = createNoLedger(clock)
    session = await beginSession(ledger)
  })

  /** After a restart, or at another process. */
  const elsewhere = (): LedgerSession => session.on(createNoLedger(clock))

  it('takes the word of every cookie, without delay and without a doubt', async () => {
    expect(await elsewhere().look(7)).toMatchObject({ state: 'current' })
    expect(await elsewhere().lease(7)).toMatchObject({ inDoubt: false })
    clock.advanceSeconds(1)
    const unknown = sessionOf({ ...session.identity, sid: randomSid(), startedAt: clock.now() }, ledger)
    expect(await unknown.lease(0)).toMatchObject({ inDoubt: false })
  })

  it('[B-RT-04] still makes one refresh of many that come to one process at the same time', async () => {
    const asked = await Promise.all(Array.from({ length: 20 }, () => session.ask(0)))
    expect(asked.filter(({ state }) => state === 'leased')).toHaveLength(1)
    await session.commit(0)
    expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
  })

  it('takes a commit that comes after a restart', async () => {
    await session.lease(0)
    expect(await elsewhere().commit(0)).toMatchObject({ state: 'committed' })
  })

  it('forgets what is over: memory does not grow, and an old generation is believed again', async () => {
    await session.refreshTo(1)
    clock.advanceSeconds(180)
    expect(await session.lease(0)).toMatchObject({ inDoubt: false })
  })

  it('remembers a lease for as long as it lasts', async () => {
    await session.lease(0)
    clock.advanceSeconds(leaseSeconds - 1)
    expect(await session.ask(0)).toEqual({ state: 'held' })
  })

  it('knows the end of a session in this process only', async () => {
    await session.end('logout')
    expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
    clock.advanceSeconds(3600)
    expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
    expect(await elsewhere().look(0)).toMatchObject({ state: 'current' })
  })

  it('[E-CK-02] keeps the absolute deadline, which is in the cookie', async () => {
    clock.advanceSeconds(absoluteSeconds)
    expect(await elsewhere().ask(3)).toMatchObject({ state: 'ended', reason: 'absolute' })
  })

  it('[B-ST-02] uses a pending login once in this process', async () => {
    await ledger.claimLogin('login')
    await ledger.settleLogin('login', undefined)
    expect(await ledger.claimLogin('login')).toEqual({ state: 'used' })
    expect(await createNoLedger(clock).claimLogin('login')).toEqual({ state: 'claimed' })
  })
})
