import { describe, expect, it } from '@jest/globals'
import { loginMemorySeconds, type Ledger, type ReplicaFacts, type SessionIdentity } from '@token-handler/shared'
import type { FakeClock } from '../support/clock.ts'
import {
  absoluteSeconds,
  beginSession,
  idleSeconds,
  randomSid,
  sessionOf,
  type LedgerSession,
} from './ledger-session.ts'

/** What every ledger promises to operators: who is logged in, what a rule would end, and which processes there are. */
export function describeDirectory(current: () => { ledger: Ledger; clock: FakeClock }): void {
  /** A completed session with facts of its own. */
  async function begin(facts: Partial<SessionIdentity> = {}): Promise<LedgerSession> {
    const { ledger, clock } = current()
    clock.advance(1)
    const sid = randomSid()
    const begun = await ledger.begin(sid, { absoluteSeconds, idleSeconds })
    if (begun.state !== 'begun') throw new Error('the store cannot be asked')
    const identity = { sid, startedAt: begun.startedAt, subjectHash: randomSid(), ...facts }
    await ledger.complete(identity)
    return sessionOf(identity, ledger)
  }
  const sidsOf = async (subjectHash: string): Promise<string[]> => {
    const found = await current().ledger.directory.ofSubject(subjectHash)
    if (found.state === 'unknown') throw new Error('the store cannot be asked')
    return found.sessions.map(({ sid }) => sid)
  }
  const countOf = async (key: Parameters<Ledger['directory']['count']>[0]['key'], before?: number): Promise<unknown> =>
    current().ledger.directory.count({ key, before: before ?? current().clock.now() + 1 })

  describe('the directory', () => {
    it('lists the live sessions of a subject, the newest first, and nobody else', async () => {
      const { ledger, clock } = current()
      const subjectHash = randomSid()
      const first = await begin({ subjectHash, asSessionHash: 'as-1', kid: 'k1' })
      await begin()
      const second = await begin({ subjectHash })
      clock.advanceSeconds(120)
      await first.refreshTo(2)
      const found = await ledger.directory.ofSubject(subjectHash)
      if (found.state === 'unknown') throw new Error('the store cannot be asked')
      expect(found.sessions).toEqual([
        expect.objectContaining({ sid: second.sid, generation: 0, asSessionHash: undefined, subjectHash }),
        {
          sid: first.sid,
          startedAt: first.identity.startedAt,
          activeAt: clock.now(),
          idleAt: clock.now() + idleSeconds * 1000,
          absoluteAt: first.identity.startedAt + absoluteSeconds * 1000,
          generation: 2,
          subjectHash,
          asSessionHash: 'as-1',
          clientHash: undefined,
          kid: 'k1',
        },
      ])
      expect(await sidsOf(randomSid())).toEqual([])
    })

    it('[F-MO-14] keeps the newer session of a subject when the older one ends', async () => {
      const subjectHash = randomSid()
      const [older, newer] = [await begin({ subjectHash }), await begin({ subjectHash })]
      await older.end('logout')
      expect(await sidsOf(subjectHash)).toEqual([newer.sid])
    })

    it('does not list what is over: ended, idle, past the deadline, under a rule, or never completed', async () => {
      const { ledger, clock } = current()
      const subjectHash = randomSid()
      const ended = await begin({ subjectHash })
      await ended.end('logout', false)
      const ruled = await begin({ subjectHash, asSessionHash: randomSid() })
      await ledger.addRule((now) => ({
        key: `asid:${ruled.identity.asSessionHash}`,
        before: now + 1,
        reason: 'revoked',
        expiresAt: now + absoluteSeconds * 1000,
      }))
      const begun = randomSid()
      await ledger.begin(begun, { absoluteSeconds, idleSeconds })
      const live = await begin({ subjectHash })
      expect(await sidsOf(subjectHash)).toEqual([live.sid])
      expect(await ledger.directory.find(begun)).toEqual({ state: 'found', session: undefined, unreadable: 0 })
      clock.advanceSeconds(idleSeconds)
      expect(await sidsOf(subjectHash)).toEqual([])
    })

    it('knows a session again that the store lost, once its cookie was shown', async () => {
      const { ledger } = current()
      const session = await begin()
      await ledger.discard(session.sid)
      expect(await sidsOf(session.identity.subjectHash)).toEqual([])
      const before = { ...session.identity, sid: randomSid(), startedAt: session.identity.startedAt - 10_000_000 }
      await sessionOf(before, ledger).look(3)
      expect(await sidsOf(session.identity.subjectHash)).toEqual([before.sid])
    })

    it('finds one session', async () => {
      const { ledger } = current()
      const session = await begin({ kid: 'k1' })
      expect(await ledger.directory.find(session.sid)).toMatchObject({
        state: 'found',
        session: { sid: session.sid, subjectHash: session.identity.subjectHash, kid: 'k1' },
      })
      expect(await ledger.directory.find(randomSid())).toEqual({ state: 'found', session: undefined, unreadable: 0 })
    })

    it('counts what a rule would end, and ends nothing', async () => {
      const { ledger, clock } = current()
      const [subjectHash, asSessionHash, kid] = [randomSid(), randomSid(), randomSid().slice(0, 16)]
      const one = await begin({ subjectHash, asSessionHash, kid })
      const two = await begin({ subjectHash, kid })
      const counted = (sessions: number): unknown => ({ state: 'counted', sessions, unreadable: 0 })
      expect(await countOf(`sid:${one.sid}`)).toEqual(counted(1))
      expect(await countOf(`sid:${randomSid()}`)).toEqual(counted(0))
      expect(await countOf(`sub:${subjectHash}`)).toEqual(counted(2))
      expect(await countOf(`sub:${subjectHash}`, two.identity.startedAt)).toEqual(counted(1))
      expect(await countOf(`sub-without-sid:${subjectHash}`)).toEqual(counted(1))
      expect(await countOf(`asid:${asSessionHash}`)).toEqual(counted(1))
      expect(await countOf(`kid:${kid}`)).toEqual(counted(2))
      expect(await countOf('kid:unheard-of')).toEqual(counted(0))
      const all = (await countOf('all')) as { sessions: number }
      await one.end('logout')
      expect(await countOf('all')).toEqual(counted(all.sessions - 1))
      expect(await countOf('all', one.identity.startedAt - 10_000)).toEqual(counted(0))
      expect(await two.look(0)).toMatchObject({ state: 'current' })
      expect(ledger.rules.endOf({ ...two.identity, startedAt: clock.now() - 1 })).toBeUndefined()
    })

    it('counts many, whatever the page', async () => {
      const before = (await countOf('all')) as { sessions: number }
      const kid = randomSid().slice(0, 16)
      const { ledger } = current()
      // All at one instant: no page may end between them.
      await Promise.all(
        Array.from({ length: 450 }, async () => {
          const { identity } = await beginSession(ledger)
          await ledger.commit({
            sid: identity.sid,
            generation: 0,
            lease: '',
            blob: '',
            kid,
            identity,
            absoluteDeadline: Math.floor(identity.startedAt / 1000) + absoluteSeconds,
            idleSeconds,
          })
        }),
      )
      expect(await countOf(`kid:${kid}`)).toEqual({ state: 'counted', sessions: 450, unreadable: 0 })
      expect(await countOf('all')).toEqual({ state: 'counted', sessions: before.sessions + 450, unreadable: 0 })
    })

    it('forgets the key of the cookies before when they are sealed under another', async () => {
      const { ledger } = current()
      const session = await begin({ kid: 'old' })
      const { identity } = session
      const absoluteDeadline = Math.floor(identity.startedAt / 1000) + absoluteSeconds
      const facts = { sid: session.sid, identity, absoluteDeadline, idleSeconds, lease: '', blob: '' }
      await ledger.commit({ ...facts, generation: 0, kid: 'new' })
      expect(await ledger.directory.find(session.sid)).toMatchObject({ session: { kid: 'new' } })
      await ledger.commit({ ...facts, generation: 1 })
      expect(await ledger.directory.find(session.sid)).toMatchObject({ session: { kid: 'old' } })
    })

    it('tells which processes were heard of in the last half minute, and how they go by the rules', async () => {
      const { ledger, clock } = current()
      const facts: ReplicaFacts = {
        version: '1.2.3',
        parts: 'proxy',
        host: 'web-1',
        pid: 7,
        startedAt: clock.now(),
        kids: ['k1'],
      }
      const silent = randomSid()
      await ledger.directory.announce(silent, facts)
      const found = await ledger.directory.replicas()
      if (found.state === 'unknown') throw new Error('the store cannot be asked')
      const [replica] = found.replicas.filter(({ id }) => id === silent)
      expect(replica).toMatchObject({ ...facts, id: silent, rules: expect.any(Number), position: expect.any(String) })
      expect(replica?.silentForMs).toBeLessThan(30_000)
      expect(replica?.staleForMs).toBeLessThan(30_000)
    })
  })

  describe('a rule that somebody writes', () => {
    it('is made of the time of the ledger, and holds for every session that began before it', async () => {
      const { ledger, clock } = current()
      const subjectHash = randomSid()
      const session = await begin({ subjectHash })
      const added = await ledger.addRule((now) => ({
        key: `sub:${subjectHash}`,
        before: now + 1,
        reason: 'backchannel_logout',
        expiresAt: now + 1000,
      }))
      expect(added).toMatchObject({ state: 'added', rule: { before: clock.now() + 1 } })
      expect(ledger.rules.endOf(session.identity)).toBe('backchannel_logout')
      expect(await session.commit(0)).toEqual({ state: 'ended', reason: 'backchannel_logout' })
      const later = await begin({ subjectHash })
      expect(await later.look(0)).toMatchObject({ state: 'current' })
    })
  })

  describe('a logout token', () => {
    it('[B-BC-03] is used once; until it is settled, everybody is told when it was claimed first', async () => {
      const { ledger, clock } = current()
      const id = randomSid()
      const claimedAt = clock.now()
      expect(await ledger.claimLogoutToken(id)).toEqual({ state: 'claimed', claimedAt })
      clock.advanceSeconds(2)
      expect(await ledger.claimLogoutToken(id)).toEqual({ state: 'claimed', claimedAt })
      expect(await ledger.settleLogoutToken(id)).toEqual({ state: 'settled' })
      expect(await ledger.claimLogoutToken(id)).toEqual({ state: 'used' })
      clock.advanceSeconds(loginMemorySeconds - 3)
      expect(await ledger.claimLogoutToken(id)).toEqual({ state: 'used' })
    })

    it('is another thing than a login of the same id', async () => {
      const { ledger } = current()
      const id = randomSid()
      await ledger.claimLogin(id)
      expect(await ledger.claimLogoutToken(id)).toMatchObject({ state: 'claimed' })
      await ledger.settleLogoutToken(id)
      expect(await ledger.claimLogin(id)).toEqual({ state: 'pending' })
    })
  })
}
