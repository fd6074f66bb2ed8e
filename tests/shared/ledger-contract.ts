import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { Ledger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { describeDirectory } from './ledger-contract-directory.ts'
import { describeLogins } from './ledger-contract-logins.ts'
import { describeTokens } from './ledger-contract-tokens.ts'
import {
  absoluteSeconds,
  beginSession,
  idleSeconds,
  leaseSeconds,
  randomSid,
  sessionOf,
  type CreateLedger,
  type LedgerSession,
  type LedgerUnderTest,
} from './ledger-session.ts'

/**
 * What every ledger promises, whatever its store: the rows of docs/sessions.md, one `describe` each. The clock stands still
 * unless a test moves it.
 */
export function describeLedger(name: string, createLedger: CreateLedger): void {
  describe(`the ${name} ledger`, () => {
    let clock: FakeClock
    let store: LedgerUnderTest
    let ledger: Ledger
    let session: LedgerSession

    beforeEach(async () => {
      clock = fakeClock()
      store = await createLedger(clock)
      ledger = store.ledger
      clock.advance(1)
      session = await beginSession(ledger)
    })

    afterEach(() => store.close())

    describe('row 1: a login', () => {
      it('is recorded before its code is redeemed, with its start on the clock of the ledger', async () => {
        clock.advance(5000)
        const sid = randomSid()
        expect(await ledger.begin(sid, { absoluteSeconds, idleSeconds })).toEqual({
          state: 'begun',
          startedAt: clock.now(),
        })
      })

      it('is live with generation 0 once it is completed', async () => {
        expect(await ledger.complete(session.identity)).toEqual({ state: 'live' })
        expect(await session.look(0)).toEqual({ state: 'current', idleSecondsLeft: idleSeconds })
      })

      it('leaves nothing behind when it failed', async () => {
        await ledger.discard(session.sid)
        expect(await ledger.complete(session.identity)).toEqual({ state: 'absent' })
        expect(await session.ask(0)).toEqual({ state: 'absent' })
      })

      it('is over at once when a rule came between', async () => {
        await session.end('revoked')
        expect(await ledger.complete(session.identity)).toEqual({ state: 'ended', reason: 'revoked' })
      })
    })

    describe('rows 2 and 3: the lease', () => {
      it('is granted to one, who may send the refresh token', async () => {
        const { id, inDoubt } = await session.lease(0)
        expect(inDoubt).toBe(false)
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'held' })
      })

      it('[B-RT-04] is refused to all others until it is over', async () => {
        await session.lease(0)
        const others = await Promise.all(Array.from({ length: 20 }, () => session.ask(0)))
        expect(others).toEqual(others.map(() => ({ state: 'held' })))
        clock.advance(leaseSeconds * 1000 - 1)
        expect(await session.ask(0)).toEqual({ state: 'held' })
      })

      it('[B-RT-04] is granted once to many who ask at the same time', async () => {
        const answers = await Promise.all(Array.from({ length: 20 }, () => session.ask(0)))
        expect(answers.filter(({ state }) => state === 'leased')).toHaveLength(1)
        expect(answers.filter(({ state }) => state === 'held')).toHaveLength(19)
      })

      it('does not keep anybody from looking', async () => {
        await session.lease(0)
        expect(await session.look(0)).toMatchObject({ state: 'current' })
      })

      it('is lost when its time is over, when it was used, and for anybody else', async () => {
        const { id } = await session.lease(0)
        expect(await ledger.holds(session.sid, 'another')).toEqual({ state: 'lost' })
        expect(await ledger.holds(randomSid(), id)).toEqual({ state: 'lost' })
        clock.advanceSeconds(leaseSeconds)
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'lost' })
        await session.commit(0, id)
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'lost' })
      })
    })

    describe('row 4: a commit', () => {
      it('makes the next generation the current one, free for the next lease', async () => {
        const { id } = await session.lease(0)
        expect(await session.commit(0, id)).toEqual({ state: 'committed', idleSecondsLeft: idleSeconds })
        expect(await session.look(1)).toMatchObject({ state: 'current' })
        expect((await session.lease(1)).inDoubt).toBe(false)
      })

      it('counts for whoever had the success, without the lease too', async () => {
        await session.lease(0)
        expect(await session.commit(0, 'of a process that was taken for dead')).toMatchObject({ state: 'committed' })
        expect(await session.look(1)).toMatchObject({ state: 'current' })
      })

      it('clears the doubt', async () => {
        await ledger.doubt(session.sid, (await session.lease(0)).id)
        expect(await session.commit(0)).toMatchObject({ state: 'committed' })
        expect((await session.lease(1)).inDoubt).toBe(false)
      })

      it('happens once a generation: the second one learns what the first one parked', async () => {
        const { id } = await session.lease(0)
        expect(await session.commit(0, id, 'first')).toMatchObject({ state: 'committed' })
        expect(await session.commit(0, id, 'second')).toEqual({ state: 'successors', blobs: ['first'], generation: 1 })
        expect(await session.look(1)).toMatchObject({ state: 'current' })
      })

      it('[B-RT-04] happens once a generation when many come at the same time', async () => {
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, at) => session.commit(0, 'x', `blob of ${at}`)),
        )
        expect(answers.filter(({ state }) => state === 'committed')).toHaveLength(1)
        expect(
          new Set(answers.map((answer) => (answer.state === 'successors' ? answer.blobs.join() : answer.state))).size,
        ).toBe(2)
      })
    })

    describe('row 5: a request that was surely not processed', () => {
      it('gives the lease back, without a doubt', async () => {
        await ledger.release(session.sid, (await session.lease(0)).id)
        expect((await session.lease(0)).inDoubt).toBe(false)
      })

      it('leaves the doubt in which the lease was taken', async () => {
        await ledger.doubt(session.sid, (await session.lease(0)).id)
        clock.advanceSeconds(60)
        await ledger.release(session.sid, (await session.lease(0)).id)
        expect((await session.lease(0)).inDoubt).toBe(true)
      })

      it('changes nothing when the lease is not the own one any more', async () => {
        const first = await session.lease(0)
        clock.advanceSeconds(leaseSeconds + 60)
        const second = await session.lease(0)
        await ledger.release(session.sid, first.id)
        expect(await ledger.holds(session.sid, second.id)).toEqual({ state: 'held' })
      })
    })

    describe('rows 6 and 7: doubt', () => {
      it('ends the lease; after a pause the token is sent again, and the next holder knows', async () => {
        const { id } = await session.lease(0)
        await ledger.doubt(session.sid, id)
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'lost' })
        expect(await session.ask(0)).toEqual({ state: 'held' })
        clock.advance(999)
        expect(await session.ask(0)).toEqual({ state: 'held' })
        clock.advance(1)
        expect((await session.lease(0)).inDoubt).toBe(true)
      })

      it('begins when the holder is silent past its lease', async () => {
        await session.lease(0)
        clock.advanceSeconds(leaseSeconds)
        expect(await session.ask(0)).toEqual({ state: 'held' })
        clock.advanceSeconds(1)
        expect((await session.lease(0)).inDoubt).toBe(true)
      })

      it('grows its pause up to half a minute', async () => {
        const pauses: number[] = []
        for (let round = 0; round < 8; round++) {
          await ledger.doubt(session.sid, (await session.lease(0)).id)
          let seconds = 0
          while ((await session.look(0)).state === 'current' && seconds < 100) {
            clock.advanceSeconds(1)
            seconds++
            const asked = await session.ask(0)
            if (asked.state !== 'leased') continue
            await ledger.release(session.sid, asked.lease)
            break
          }
          pauses.push(seconds)
        }
        expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30, 30])
      })

      it('is not entered by somebody who does not hold the lease', async () => {
        const { id } = await session.lease(0)
        await ledger.doubt(session.sid, 'another')
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'held' })
      })
    })

    describe('row 8: a refused refresh token', () => {
      it('[A-26] ends the session of the holder', async () => {
        const { id } = await session.lease(0)
        expect(await ledger.refuse(session.sid, 0, id)).toEqual({ state: 'ended', reason: 'refused', isNew: true })
        expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'refused' })
        expect(ledger.rules.endOf(session.identity)).toBe('refused')
      })

      it('means nothing when somebody else has gone on: the answer is what he parked', async () => {
        const { id } = await session.lease(0)
        await session.commit(0, 'somebody else')
        expect(await ledger.refuse(session.sid, 0, id)).toEqual({
          state: 'successors',
          blobs: ['blob 1'],
          generation: 1,
        })
        expect(await session.look(1)).toMatchObject({ state: 'current' })
      })

      it('means nothing when the lease is not the own one', async () => {
        const first = await session.lease(0)
        clock.advanceSeconds(leaseSeconds + 60)
        await session.lease(0)
        expect(await ledger.refuse(session.sid, 0, first.id)).toEqual({ state: 'not_mine' })
        expect(await session.look(0)).toMatchObject({ state: 'current' })
      })

      it('tells of an end that came first, and keeps its reason', async () => {
        const { id } = await session.lease(0)
        await session.end('logout')
        expect(await ledger.refuse(session.sid, 0, id)).toEqual({ state: 'ended', reason: 'logout' })
      })
    })

    describe('row 9: acknowledging', () => {
      beforeEach(() => session.refreshTo(1))

      it('[B-RT-05] takes the parked cookies away when a generation is shown a minute after it was given', async () => {
        clock.advance(60_000)
        expect(await session.look(1)).toMatchObject({ state: 'current' })
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
      })

      it('does not happen at first sight: answers may still be on their way', async () => {
        clock.advance(59_999)
        await session.look(1)
        expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
      })

      it('does not happen unseen, however much time passes', async () => {
        clock.advance(600_000)
        expect(await session.ask(0)).toMatchObject({ state: 'successors' })
      })

      it('does not happen when the request was sent before the minute was over, however late it is judged', async () => {
        clock.advance(60_000)
        expect(await session.look(1, { ageMs: 1 })).toMatchObject({ state: 'current' })
        expect(await session.ask(0)).toMatchObject({ state: 'successors' })
      })

      it('is not put off by whoever only looks with an old generation', async () => {
        clock.advance(30_000)
        expect(await session.look(0)).toMatchObject({ state: 'successors' })
        clock.advance(30_000)
        await session.look(1)
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
      })

      it('starts over with every replay', async () => {
        clock.advance(50_000)
        await session.ask(0)
        clock.advance(50_000)
        await session.look(1)
        expect(await session.ask(0)).toMatchObject({ state: 'successors' })
      })
    })

    describe('row 10: an older generation', () => {
      it('[B-RT-03] leads to the newest one, without a call to the authorization server', async () => {
        await session.refreshTo(3)
        expect(await session.ask(0)).toEqual({
          state: 'successors',
          blobs: ['blob 1', 'blob 2', 'blob 3'],
          generation: 3,
        })
        expect(await session.look(2)).toEqual({ state: 'successors', blobs: ['blob 3'], generation: 3 })
      })

      it('does so while somebody holds the lease', async () => {
        await session.refreshTo(1)
        await session.lease(1)
        expect(await session.ask(0)).toMatchObject({ state: 'successors', generation: 1 })
      })
    })

    describe('row 11: a generation whose chain is broken', () => {
      it('[B-RT-05] [E-CK-06] is superseded, and the session goes on', async () => {
        await session.refreshTo(4)
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
        expect(await session.look(0)).toEqual({ state: 'superseded' })
        expect(await session.ask(1)).toMatchObject({ state: 'successors', generation: 4 })
        expect(await session.look(4)).toMatchObject({ state: 'current' })
      })

      it('gets nothing by a commit either', async () => {
        await session.refreshTo(4)
        expect(await session.commit(0, 'late')).toEqual({ state: 'superseded' })
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
      })
    })

    describe('row 12: a generation that the store does not know yet', () => {
      it('leaves what is parked, so that the commit that was missing completes the chain from before', async () => {
        await session.refreshTo(1)
        const { id } = await session.lease(1)
        await session.look(2)
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
        await session.commit(1, id)
        expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1', 'blob 2'], generation: 2 })
      })

      it('is believed, for we sealed it: the store is behind', async () => {
        expect(await session.look(1)).toMatchObject({ state: 'current' })
        expect((await session.lease(1)).inDoubt).toBe(false)
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
      })

      it('takes lease and doubt of the old generation away', async () => {
        const { id } = await session.lease(0)
        await session.look(1)
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'lost' })
        expect((await session.lease(1)).inDoubt).toBe(false)
      })

      it('lets the commit that was missing complete the chain', async () => {
        const { id } = await session.lease(0)
        await session.look(1)
        expect(await session.commit(0, id)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
        expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
      })

      it('lets it do so however late, for nobody has shown yet that the generation arrived to stay', async () => {
        const { id } = await session.lease(0)
        await session.look(1)
        clock.advanceSeconds(61)
        expect(await session.commit(0, id)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
        expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
      })

      it('lets it do so after the next refresh, too', async () => {
        const { id } = await session.lease(0)
        await session.commit(1, (await session.lease(1)).id)
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
        await session.commit(0, id)
        expect(await session.ask(0)).toEqual({ state: 'successors', blobs: ['blob 1', 'blob 2'], generation: 2 })
      })

      it('[B-RT-05] lets it do so no more once the generation was acknowledged', async () => {
        const { id } = await session.lease(0)
        await session.look(1)
        clock.advance(60_000)
        await session.commit(1, (await session.lease(1)).id)
        expect(await session.commit(0, id)).toEqual({ state: 'superseded' })
        expect(await session.ask(0)).toEqual({ state: 'superseded' })
        expect(await session.look(2)).toMatchObject({ state: 'current' })
      })
    })

    describe('row 13: an end', () => {
      it('[B-LO-08] [B-LO-09] is final: no look, no lease, no replay, no commit', async () => {
        await session.refreshTo(2)
        const { id } = await session.lease(2)
        expect(await session.end('logout')).toEqual({ state: 'ended', isNew: true })
        expect(await session.end('logout')).toEqual({ state: 'ended' })
        const over = { state: 'ended', reason: 'logout' }
        for (const generation of [0, 1, 2, 3]) {
          expect(await session.look(generation)).toEqual(over)
          expect(await session.ask(generation)).toEqual(over)
          expect(await session.commit(generation, id)).toEqual(over)
        }
        expect(await ledger.holds(session.sid, id)).toEqual({ state: 'lost' })
        expect(await ledger.refuse(session.sid, 2, id)).toEqual(over)
      })

      it('[B-BC-08] makes a rule that proxied requests meet at once', async () => {
        expect(ledger.rules.endOf(session.identity)).toBeUndefined()
        const told: boolean[] = []
        const stop = ledger.rules.onRule((isOver) => told.push(isOver(session.identity)))
        await session.end('logout')
        expect(ledger.rules.endOf(session.identity)).toBe('logout')
        expect(told).toEqual([true])
        stop()
        await (await beginSession(ledger)).end('logout')
        expect(told).toEqual([true])
      })

      it('under a rule that reaches all its cookies writes no other, and does under one about a key', async () => {
        const rule = { before: clock.now() + 1, reason: 'revoked', expiresAt: clock.now() + 60_000 } as const
        const over = { state: 'ended', reason: 'revoked' }
        await ledger.addRule(() => ({ ...rule, key: `sub:${session.identity.subjectHash}` }))
        expect([await session.ask(0), await session.commit(0)]).toEqual([over, over])
        expect(ledger.rules.survey(9).byKind.get('sid')).toBe(0)
        const other = await beginSession(ledger)
        const underKey = sessionOf({ ...other.identity, kid: `key of ${other.sid}` }, ledger)
        await ledger.addRule(() => ({ ...rule, key: `kid:${underKey.identity.kid}` }))
        expect([await underKey.look(0), await other.ask(0)]).toEqual([over, over])
        expect(ledger.rules.endOf(other.identity)).toBe('revoked')
      })

      it('takes another rule after one about times before 1970', async () => {
        const rule = { key: 'all', reason: 'revoked', expiresAt: clock.now() + 60_000 } as const
        for (const before of [-31_000_000_000, -1, clock.now() + 1]) {
          expect(await ledger.addRule(() => ({ ...rule, before }))).toMatchObject({ state: 'added' })
        }
        expect(ledger.rules.endOf(session.identity)).toBe('revoked')
      })

      it('without a rule leaves the access cookie to run out, and ends the session all the same', async () => {
        await session.end('replaced', false)
        expect(ledger.rules.endOf(session.identity)).toBeUndefined()
        expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'replaced' })
        expect(await session.commit(0)).toEqual({ state: 'ended', reason: 'replaced' })
        expect(ledger.rules.endOf(session.identity)).toBeUndefined()
      })

      it('[B-LO-08] hands what was parked to whoever ends it, once, so that the newest refresh token can be revoked', async () => {
        await session.refreshTo(2)
        const end = { sid: session.sid, reason: 'logout', keepSeconds: absoluteSeconds, withRule: true } as const
        expect(await ledger.end({ ...end, generation: 0 })).toEqual({
          state: 'ended',
          isNew: true,
          blobs: ['blob 1', 'blob 2'],
        })
        expect(await ledger.end({ ...end, generation: 0 })).toEqual({ state: 'ended' })
      })

      it('keeps its first reason', async () => {
        await session.end('replaced', false)
        await session.end('logout')
        expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'replaced' })
      })

      it('concerns one session only', async () => {
        const other = await beginSession(ledger)
        await session.end()
        expect(await other.look(0)).toMatchObject({ state: 'current' })
        expect(ledger.rules.endOf(other.identity)).toBeUndefined()
      })

      it('[E-CK-02] comes at the absolute deadline, which no refresh moves', async () => {
        for (let generation = 0; generation < absoluteSeconds / 1800; generation++) {
          await session.commit(generation, (await session.lease(generation)).id)
          clock.advanceSeconds(1800)
        }
        const over = { state: 'ended', reason: 'absolute' }
        expect(await session.ask(absoluteSeconds / 1800)).toEqual({ ...over, isNew: true })
        expect(await session.commit(absoluteSeconds / 1800)).toEqual(over)
      })

      it('[E-CK-02] comes after the idle time, which only activity moves', async () => {
        clock.advanceSeconds(idleSeconds - 1)
        expect(await session.look(0)).toEqual({ state: 'current', idleSecondsLeft: 1 })
        expect(await session.look(0, { isActivity: true })).toEqual({ state: 'current', idleSecondsLeft: idleSeconds })
        clock.advanceSeconds(idleSeconds - 1)
        expect(await session.ask(0, { isActivity: false })).toMatchObject({ state: 'leased' })
        clock.advanceSeconds(1)
        const over = { state: 'ended', reason: 'idle' }
        expect(await session.look(0, { isActivity: true })).toEqual({ ...over, isNew: true })
        expect(await session.look(0, { isActivity: true })).toEqual(over)
        expect(ledger.rules.endOf(session.identity)).toBe('idle')
      })

      it('counts activity at most once a minute', async () => {
        clock.advanceSeconds(60)
        expect(await session.look(0, { isActivity: true })).toEqual({
          state: 'current',
          idleSecondsLeft: idleSeconds - 60,
        })
        clock.advanceSeconds(1)
        expect(await session.look(0, { isActivity: true })).toEqual({ state: 'current', idleSecondsLeft: idleSeconds })
      })

      it('can be written for a session that the store does not know', async () => {
        for (const withRule of [true, false]) {
          const lost = await beginSession(ledger)
          await ledger.discard(lost.sid)
          expect(await lost.end('logout', withRule)).toEqual({ state: 'ended', isNew: true })
          expect(await lost.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
          expect(await lost.commit(0)).toEqual({ state: 'ended', reason: 'logout' })
        }
      })

      it('is refused, where the caller asks for that, for a session that the store does not know; else it is as any', async () => {
        const lost = await beginSession(ledger)
        await ledger.discard(lost.sid)
        const end = { reason: 'logout', keepSeconds: absoluteSeconds, withRule: true, ifKnown: true } as const
        expect(await ledger.end({ ...end, sid: lost.sid })).toEqual({ state: 'absent' })
        expect(await lost.look(0)).toEqual({ state: 'absent' })
        expect(ledger.rules.endOf(lost.identity)).toBeUndefined()
        expect(await ledger.end({ ...end, sid: session.sid })).toEqual({ state: 'ended', isNew: true })
        expect(await session.look(0)).toEqual({ state: 'ended', reason: 'logout' })
        expect(ledger.rules.endOf(session.identity)).toBe('logout')
      })
    })

    describe('row 14: a session that the store never had', () => {
      it('is absent', async () => {
        const unknown = sessionOf({ ...session.identity, sid: randomSid() }, ledger)
        expect(await unknown.look(0)).toEqual({ state: 'absent' })
        expect(await unknown.ask(3)).toEqual({ state: 'absent' })
      })

      it('gains nothing by a commit', async () => {
        const unknown = sessionOf({ ...session.identity, sid: randomSid() }, ledger)
        expect((await unknown.commit(0)).state).toBe('ended')
        expect(await unknown.look(1)).toEqual({ state: 'absent' })
      })
    })

    describe('row 15: a session that the store lost', () => {
      let after: LedgerSession
      beforeEach(async () => {
        await session.refreshTo(2)
        clock.advanceSeconds(1)
        after = session.on(await store.lose())
      })

      it('is taken over from its cookie', async () => {
        expect(await after.look(2)).toEqual({ state: 'current', idleSecondsLeft: idleSeconds })
      })

      it('gets no lease until every lease from before is over; its first one is in doubt', async () => {
        expect(await after.ask(2)).toEqual({ state: 'held' })
        clock.advance(leaseSeconds * 1000 - 1)
        expect(await after.ask(2)).toEqual({ state: 'held' })
        clock.advance(1)
        expect((await after.lease(2)).inDoubt).toBe(true)
      })

      it('stays in doubt until a success is committed under a lease from after the loss', async () => {
        clock.advanceSeconds(leaseSeconds)
        await after.look(2)
        expect(await after.commit(2, 'a lease from before')).toMatchObject({ state: 'committed' })
        const { id, inDoubt } = await after.lease(3)
        expect(inDoubt).toBe(true)
        await after.commit(3, id)
        expect((await after.lease(4)).inDoubt).toBe(false)
      })

      it('is taken over from a commit as well', async () => {
        expect(await after.commit(2)).toMatchObject({ state: 'committed' })
        expect(await after.look(3)).toMatchObject({ state: 'current' })
        expect(await after.ask(2)).toMatchObject({ state: 'successors', generation: 3 })
      })

      it('advances to a newer cookie, and leaves older ones behind', async () => {
        await after.look(1)
        expect(await after.look(2)).toMatchObject({ state: 'current' })
        expect(await after.look(1)).toEqual({ state: 'superseded' })
      })

      it('keeps its absolute deadline', async () => {
        clock.advanceSeconds(absoluteSeconds)
        expect(await after.ask(2)).toEqual({ state: 'ended', reason: 'absolute', isNew: true })
      })

      it('ends for good with and without a rule, before it was seen again', async () => {
        for (const withRule of [true, false]) {
          const other = sessionOf({ ...session.identity, sid: randomSid() }, await store.lose())
          await other.end('logout', withRule)
          expect(await other.ask(2)).toEqual({ state: 'ended', reason: 'logout' })
          expect(await other.commit(2)).toEqual({ state: 'ended', reason: 'logout' })
        }
      })
    })

    it('row 15: does not take over a session that started after the loss', async () => {
      const fresh = await store.lose()
      const impostor = sessionOf({ ...session.identity, sid: randomSid(), startedAt: clock.now() }, fresh)
      expect(await impostor.ask(0)).toEqual({ state: 'absent' })
    })

    describeLogins(() => ({ ledger, clock }))
    describeDirectory(() => ({ ledger, clock }))
    describeTokens(() => ({ ledger, clock, session }))
  })
}
