import { describe, expect, it } from '@jest/globals'
import {
  createMemoryLedger,
  isAbout,
  RuleSet,
  type Rule,
  type RuleSettings,
  type SessionIdentity,
} from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { beginSession } from './ledger-session.ts'

const session: SessionIdentity = { sid: 's1', startedAt: 1000, subjectHash: 'u1', asSessionHash: 'a1', kid: 'k1' }
const settings: RuleSettings = { clientHash: 'c1' }
const rule = (over: Partial<Rule>): Rule => ({
  key: 'all',
  before: 1001,
  reason: 'revoked',
  expiresAt: Infinity,
  ...over,
})

describe('a rule', () => {
  it.each<Rule['key']>(['sid:s1', 'sub:u1', 'asid:a1', 'client:c1', 'kid:k1', 'all'])(
    'about %s ends the sessions that started before it',
    (key) => {
      const rules = new RuleSet(fakeClock(), undefined, settings)
      rules.add(rule({ key, before: 1000 }))
      expect(rules.endOf(session)).toBeUndefined()
      rules.add(rule({ key, before: 1001 }))
      expect(rules.endOf(session)).toBe('revoked')
      expect(rules.endOf({ ...session, startedAt: 1001 })).toBeUndefined()
    },
  )

  it.each<Rule['key']>([
    'sid:s2',
    'sub:u2',
    'asid:a2',
    'sid:u1',
    'sub:s1',
    'asid:undefined',
    'kid:k2',
    'kid:undefined',
    'client:c2',
    'client:undefined',
  ])('[B-BC-06] about %s concerns nobody else', (key) => {
    const rules = new RuleSet(fakeClock(), undefined, settings)
    rules.add(rule({ key }))
    expect(rules.endOf(session)).toBeUndefined()
    expect(rules.endOf({ sid: 's1', startedAt: 1000, subjectHash: 'u1' })).toBeUndefined()
  })

  it('about a subject without a session of the authorization server leaves those alone that have one', () => {
    const rules = new RuleSet(fakeClock())
    rules.add(rule({ key: 'sub-without-sid:u1' }))
    expect(rules.endOf(session)).toBeUndefined()
    expect(rules.endOf({ ...session, asSessionHash: undefined })).toBe('revoked')
    expect(rules.endOf({ ...session, asSessionHash: undefined, subjectHash: 'u2' })).toBeUndefined()
  })

  it('about a client is nothing to a process that was not told whose cookies it opens', () => {
    const rules = new RuleSet(fakeClock())
    rules.add(rule({ key: 'client:c1' }))
    expect(rules.endOf(session)).toBeUndefined()
  })

  it('of a kind that this release does not know is left alone', () => {
    const rules = new RuleSet(fakeClock())
    rules.addAll([rule({ key: 'tenant:t1' as Rule['key'] }), rule({ key: 'toString:x' as Rule['key'] })])
    expect([rules.endOf(session), rules.size, rules.inForce()]).toEqual([undefined, 0, []])
  })

  it('says of one session what all rules together say of it', () => {
    const ids = ['s1', 'u1', 'a1', 'k1', 'c1', 'other']
    const kinds = ['sid', 'sub', 'asid', 'sub-without-sid', 'kid', 'client'] as const
    const keys: Rule['key'][] = ['all', ...kinds.flatMap((kind) => ids.map((id) => `${kind}:${id}` as const))]
    const sessions = [session, { ...session, asSessionHash: undefined }, { ...session, kid: undefined }]
    for (const key of keys) {
      for (const before of [1000, 1001]) {
        const rules = new RuleSet(fakeClock(), undefined, settings)
        rules.add(rule({ key, before }))
        for (const each of sessions) {
          expect([key, isAbout({ key, before }, each, 'c1')]).toEqual([key, rules.endOf(each) !== undefined])
        }
      }
    }
  })

  it('comes to the listeners once, however many come together', () => {
    const rules = new RuleSet(fakeClock())
    const told: unknown[] = []
    rules.onRule((isOver, cause) => told.push([isOver(session), cause]))
    rules.addAll([rule({ key: 'sid:s2' }), rule({ key: 'sid:s1' }), rule({ key: 'sid:s3' })])
    rules.addAll([rule({ key: 'sid:s1' })])
    rules.addAll([])
    expect(told).toEqual([[true, 'rule']])
    expect(rules.size).toBe(3)
  })

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

describe('rules that may be incomplete', () => {
  const setup = (options: RuleSettings) => {
    const state = { staleMs: 0 }
    const rules = new RuleSet(fakeClock(), () => state.staleMs, options)
    const told: unknown[] = []
    rules.onRule((isOver, cause) => told.push([isOver(session), cause]))
    const at = (staleMs: number): boolean => {
      state.staleMs = staleMs
      rules.checkStaleness()
      return rules.areStale()
    }
    return { at, told }
  }

  it('[G-6] are no longer gone by after a minute, unless configured otherwise', () => {
    const { at } = setup({})
    expect([at(0), at(60_000), at(60_001), at(0), at(Infinity)]).toEqual([false, false, true, false, true])
    const short = setup({ staleAfterMs: 5000 })
    expect([short.at(5000), short.at(5001)]).toEqual([false, true])
  })

  it('are gone by for as long as tokens live where that is configured, but never before they were known at all', () => {
    const { at, told } = setup({ stalePolicy: 'serve_until_token_expiry' })
    expect([at(60_001), at(86_400_000), at(Infinity)]).toEqual([false, false, true])
    expect(told).toEqual([[true, 'stale']])
  })

  it('are told once as such to who has streams open, and again after they were complete', () => {
    const { at, told } = setup({})
    for (const staleMs of [60_001, 61_000, 0, 62_000]) at(staleMs)
    expect(told).toEqual([
      [true, 'stale'],
      [true, 'stale'],
    ])
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
    expect(rules.survey(3)).toMatchObject({ total: 100, newest: rules.inForce().slice(-3) })
    const [oldest] = rules.inForce()
    clock.advanceSeconds(86_400)
    await beginSession(ledger)
    expect(rules.endOf({ ...session, sid: oldest?.key.slice('sid:'.length) ?? '' })).toBeUndefined()
  })
})
