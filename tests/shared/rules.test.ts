import { describe, expect, it } from '@jest/globals'
import { createMemoryLedger, RuleSet, type Rule, type SessionIdentity } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { beginSession } from './ledger-session.ts'

const session: SessionIdentity = { sid: 's1', startedAt: 1000, subjectHash: 'u1', asSessionHash: 'a1' }
const rule = (over: Partial<Rule>): Rule => ({
  key: 'all',
  before: 1001,
  reason: 'revoked',
  expiresAt: Infinity,
  ...over,
})

describe('a rule', () => {
  it.each<Rule['key']>(['sid:s1', 'sub:u1', 'asid:a1', 'all'])(
    'about %s ends the sessions that started before it',
    (key) => {
      const rules = new RuleSet(fakeClock())
      rules.add(rule({ key, before: 1000 }))
      expect(rules.endOf(session)).toBeUndefined()
      rules.add(rule({ key, before: 1001 }))
      expect(rules.endOf(session)).toBe('revoked')
      expect(rules.endOf({ ...session, startedAt: 1001 })).toBeUndefined()
    },
  )

  it.each<Rule['key']>(['sid:s2', 'sub:u2', 'asid:a2', 'sid:u1', 'sub:s1', 'asid:undefined'])(
    '[B-BC-06] about %s concerns nobody else',
    (key) => {
      const rules = new RuleSet(fakeClock())
      rules.add(rule({ key }))
      expect(rules.endOf(session)).toBeUndefined()
      expect(rules.endOf({ sid: 's1', startedAt: 1000, subjectHash: 'u1' })).toBeUndefined()
    },
  )

  it('only grows: an older one for the same sessions changes nothing, and twice is once', () => {
    const rules = new RuleSet(fakeClock())
    let told = 0
    rules.onRule(() => told++)
    rules.add(rule({ key: 'sub:u1', before: 2000, expiresAt: 9000 }))
    rules.add(rule({ key: 'sub:u1', before: 2000, expiresAt: 9000 }))
    rules.add(rule({ key: 'sub:u1', before: 500, expiresAt: 8000 }))
    expect(told).toBe(1)
    expect(rules.endOf({ ...session, startedAt: 1999 })).toBe('revoked')
  })

  it('keeps the reason that came first, and the longer life', () => {
    const clock = fakeClock(0)
    const rules = new RuleSet(clock)
    rules.add(rule({ key: 'sid:s1', reason: 'logout', expiresAt: 1000 }))
    rules.add(rule({ key: 'sid:s1', reason: 'absolute', expiresAt: 2000 }))
    expect(rules.inForce()).toEqual([rule({ key: 'sid:s1', reason: 'logout', expiresAt: 2000 })])
    rules.add(rule({ key: 'sid:s1', reason: 'idle', before: 1002, expiresAt: 100 }))
    expect(rules.inForce()).toEqual([rule({ key: 'sid:s1', reason: 'idle', before: 1002, expiresAt: 2000 })])
  })

  it('[E-CK-08] is kept until no cookie can meet it, and then forgotten', () => {
    const clock = fakeClock(0)
    const rules = new RuleSet(clock)
    rules.add(rule({ key: 'sid:s1', expiresAt: 5000 }))
    clock.advance(4999)
    rules.forgetExpired()
    expect(rules.endOf(session)).toBe('revoked')
    clock.advance(1)
    rules.forgetExpired()
    expect(rules.inForce()).toEqual([])
  })

  it('is told to every listener until it stops listening', () => {
    const rules = new RuleSet(fakeClock())
    const told: string[] = []
    const stop = rules.onRule((isOver) => told.push(`first ${isOver(session)}`))
    rules.onRule((isOver) => told.push(`second ${isOver(session)}`))
    rules.add(rule({ key: 'sid:s2' }))
    stop()
    rules.add(rule({ key: 'sid:s1' }))
    expect(told).toEqual(['first false', 'second false', 'second true'])
  })

  it('says how long others may have been missed', () => {
    let stale = 5
    expect(new RuleSet(fakeClock(), () => stale).staleForMs()).toBe(5)
    stale = Infinity
    expect(new RuleSet(fakeClock(), () => stale).staleForMs()).toBe(Infinity)
    expect(new RuleSet(fakeClock()).staleForMs()).toBe(0)
  })
})

describe('the memory ledger', () => {
  it('forgets what can matter no more: sessions, logins and rules', async () => {
    const clock = fakeClock()
    const ledger = createMemoryLedger(clock)
    clock.advance(1)
    const rules = ledger.rules as RuleSet
    for (let round = 0; round < 100; round++) await (await beginSession(ledger)).end()
    expect(rules.inForce()).toHaveLength(100)
    const [oldest] = rules.inForce()
    clock.advanceSeconds(86_400)
    await beginSession(ledger)
    expect(rules.endOf({ ...session, sid: oldest?.key.slice('sid:'.length) ?? '' })).toBeUndefined()
  })
})
