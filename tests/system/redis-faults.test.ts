import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openRedisLedger, systemClock, type Ledger, type RedisLedgerOptions } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { absoluteSeconds, beginSession, idleSeconds, type LedgerSession } from '../shared/ledger-session.ts'

describe('the redis ledger in trouble', () => {
  let redis: RedisServer
  let time: FakeClock
  let log: KeptLog
  let ledger: Ledger
  let session: LedgerSession
  const opened: Ledger[] = []

  async function open(options: Partial<RedisLedgerOptions> = {}): Promise<Ledger> {
    const given = {
      url: redis.url,
      keyPrefix: 'test',
      clock: systemClock,
      logger: log.logger,
      ledgerTime: () => time.now(),
    }
    const another = await openRedisLedger({ ...given, ...options })
    opened.push(another)
    return another
  }
  const answers = async (): Promise<boolean> => (await ledger.holds('any', 'lease')).state !== 'unknown'

  beforeEach(async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    time = fakeClock()
    log = keptLog()
    ledger = await open()
    time.advanceSeconds(5)
    session = await beginSession(ledger)
  })

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()))
    await redis.close()
  })

  it('answers unknown within about a second when the server hangs, and goes on when it does', async () => {
    await session.refreshTo(1)
    redis.pause()
    for (const ask of [() => session.look(1), () => session.ask(1), () => session.commit(1), () => session.end()]) {
      const since = performance.now()
      expect(await ask()).toEqual({ state: 'unknown' })
      expect(performance.now() - since).toBeLessThan(1500)
    }
    expect(await ledger.claimLogin('login')).toEqual({ state: 'unknown' })
    redis.resume()
    await until('it answers', answers)
    // Logout did not reach the server, and this process did not forget it.
    expect(await session.look(1)).toEqual({ state: 'ended', reason: 'logout' })
    expect(log.events()).toEqual(['ledger_unreachable', 'ledger_reachable'])
  })

  it('lists and counts the other sessions beside a record that it cannot read, and tells that there is one', async () => {
    const { subjectHash } = session.identity
    await ledger.begin('newer', { absoluteSeconds, idleSeconds })
    await ledger.complete({ ...session.identity, sid: 'newer' })
    await redis.command('SET', '{test}:session:newer', '{"v":2}')
    const { directory } = ledger
    const before = time.now() + 1
    expect(await directory.find('newer')).toEqual({ state: 'found', session: undefined, unreadable: 1 })
    expect(await directory.ofSubject(subjectHash)).toMatchObject({ sessions: [{ sid: session.sid }], unreadable: 1 })
    for (const key of ['all', `sub:${subjectHash}`] as const) {
      expect(await directory.count({ key, before })).toEqual({ state: 'counted', sessions: 1, unreadable: 1 })
    }
  })

  it('answers at once while many ask a server that hangs', async () => {
    redis.pause()
    const since = performance.now()
    const asked = await Promise.all(Array.from({ length: 200 }, () => session.ask(0)))
    expect(new Set(asked.map(({ state }) => state))).toEqual(new Set(['unknown']))
    expect(performance.now() - since).toBeLessThan(1500)
    redis.resume()
    await until('it answers', answers)
  })

  it('remembers everything when the server was killed and started again', async () => {
    await session.refreshTo(2)
    const ended = await beginSession(ledger)
    await ended.end('logout')
    await redis.kill()
    expect(await session.ask(2)).toEqual({ state: 'unknown' })
    await redis.start()
    await until('it answers', answers)
    expect(await session.ask(1)).toMatchObject({ state: 'successors', generation: 2 })
    expect((await session.lease(2)).inDoubt).toBe(false)
    expect(await ended.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
    expect(log.events()).not.toContain('ledger_lost')
  })

  it('gives holders of a success five seconds to commit it before doubt is resolved', async () => {
    await ledger.doubt(session.sid, (await session.lease(0)).id)
    time.advanceSeconds(2)
    await redis.kill()
    expect(await session.commit(0)).toEqual({ state: 'unknown' })
    await redis.start()
    const startedAt = performance.now()
    await until('it answers', answers)
    // The connection for rules comes back by itself, and an outage that it meets begins the five seconds anew.
    await until('rules are read', () => ledger.rules.staleForMs() < performance.now() - startedAt)
    time.advance(4999)
    expect(await session.ask(0)).toEqual({ state: 'held' })
    time.advance(1)
    expect(await session.lease(0)).toMatchObject({ inDoubt: true })
  })

  it('starts while the server is down, knows that it knows no rules, and goes on when it is up', async () => {
    await session.end('logout')
    await redis.kill()
    const late = await open()
    expect(late.rules.staleForMs()).toBe(Infinity)
    expect(await session.on(late).look(0)).toEqual({ state: 'unknown' })
    await redis.start()
    await until('rules are there', () => late.rules.staleForMs() < 5000)
    expect(late.rules.endOf(session.identity)).toBe('logout')
  })

  it('knows how long it may have missed rules', async () => {
    expect(ledger.rules.staleForMs()).toBeLessThan(3000)
    redis.pause()
    await until('staleness grows', () => ledger.rules.staleForMs() > 4000)
    redis.resume()
    await until('it answers', answers)
    expect(ledger.rules.staleForMs()).toBeLessThan(3000)
  })

  it('[G-6] takes no session for live while it may have missed rules for too long, tells it once, and goes on', async () => {
    const [closing, serving] = [
      await open({ rules: { staleAfterMs: 2500 } }),
      await open({ rules: { staleAfterMs: 2500, stalePolicy: 'serve_until_token_expiry' } }),
    ]
    await until('both follow', () => [closing, serving].every(({ rules }) => rules.staleForMs() < 1500))
    const told: string[] = []
    closing.rules.onRule((isOver, cause) => told.push(`${cause} ${isOver(session.identity)}`))
    redis.pause()
    await until('it fails closed, and says so', () => closing.rules.areStale() && told.length > 0)
    expect(told).toEqual(['stale true'])
    expect([closing.rules.endOf(session.identity), serving.rules.areStale()]).toEqual([undefined, false])
    redis.resume()
    await until('it goes on', () => !closing.rules.areStale())
    expect(told).toEqual(['stale true'])
  })

  it('heeds a rule that it could not write, and writes it when it is repeated', async () => {
    const other = await open()
    const rule = (now: number) =>
      ({
        key: `sub:${session.identity.subjectHash}`,
        before: now + 1,
        reason: 'revoked',
        expiresAt: now + 60_000,
      }) as const
    redis.pause()
    expect(await ledger.addRule(rule)).toEqual({ state: 'unknown' })
    expect(ledger.rules.endOf(session.identity)).toBe('revoked')
    expect(other.rules.endOf(session.identity)).toBeUndefined()
    redis.resume()
    await until('it is written', async () => (await ledger.addRule(rule)).state === 'added')
    await until('the other process knows', () => other.rules.endOf(session.identity) === 'revoked')
  })

  it('stays fresh while nothing happens', async () => {
    const seen: number[] = []
    await until('six heartbeats', () => seen.push(ledger.rules.staleForMs()) > 300, { timeoutMs: 15_000 })
    expect(Math.max(...seen)).toBeLessThan(3000)
    expect(log.events()).toEqual([])
  })

  describe('flushed', () => {
    it('has the rules back before it answers', async () => {
      await session.end('logout')
      await redis.command('FLUSHALL')
      const fresh = await open()
      await until('it answers', answers)
      await until('the rule is back', () => fresh.rules.endOf(session.identity) === 'logout')
      expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
      expect(log.events()).toContain('ledger_lost')
    })

    it('ends every session where that is wished for', async () => {
      const lossRule: RedisLedgerOptions['lossRule'] = (incarnationAt) => ({
        key: 'all',
        before: incarnationAt,
        reason: 'revoked',
        expiresAt: incarnationAt + absoluteSeconds * 1000,
      })
      await ledger.close()
      await redis.command('FLUSHALL')
      time.advance(1)
      const strict = await open({ lossRule })
      expect(await session.on(strict).look(0)).toEqual({ state: 'ended', reason: 'revoked' })
      time.advance(1)
      expect(await (await beginSession(strict)).look(0)).toMatchObject({ state: 'current' })
    })
  })

  it('needs few rights, and says at once when it has none', async () => {
    const rights = [
      'ACL',
      'SETUSER',
      'ledger',
      'on',
      '>secret',
      '~{test}:*',
      '-@all',
      '+eval',
      '+evalsha',
      '+ping',
      '+time',
      '+get',
      '+set',
      '+del',
      '+incr',
      '+pexpire',
      '+hget',
      '+hset',
      '+hmget',
      '+hdel',
      '+hincrby',
      '+hscan',
      '+zadd',
      '+zrem',
      '+zrangebyscore',
      '+xadd',
      '+xread',
      '+xrevrange',
    ]
    expect(await redis.command(...rights)).toBe('OK')
    const url = (secret: string): string => redis.url.replace('//', `//ledger:${secret}@`)
    const limited = await open({ url: url('secret') })
    const other = await beginSession(limited)
    await other.refreshTo(1)
    expect(await other.end('logout')).toMatchObject({ state: 'ended' })
    await until('the rule arrives', () => ledger.rules.endOf(other.identity) === 'logout')
    await expect(open({ url: url('wrong') })).rejects.toThrow('the server answers WRONGPASS')
    await redis.command('ACL', 'SETUSER', 'ledger', '-evalsha')
    await expect(open({ url: url('secret') })).rejects.toThrow('the server answers NOPERM')
  })

  it('does not start with a server that may drop records', async () => {
    await redis.command('CONFIG', 'SET', 'maxmemory', '100mb')
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await expect(open()).rejects.toThrow('maxmemory-policy is allkeys-lru')
  })

  it('answers unknown when the server is full, still tells what it can read, and notices when it is well', async () => {
    const other = await beginSession(ledger)
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    expect(await session.ask(0)).toEqual({ state: 'unknown' })
    expect(await session.end('logout')).toEqual({ state: 'unknown' })
    expect(await other.look(0)).toMatchObject({ state: 'current' })
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    await until('it is well', () => log.events().includes('ledger_reachable'))
    expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
    expect(log.events()).toEqual(['ledger_unreachable', 'ledger_reachable'])
  })

  it('does not resolve a doubt at the first request after it was full', async () => {
    await ledger.doubt(session.sid, (await session.lease(0)).id)
    time.advanceSeconds(10)
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    expect(await session.ask(0)).toEqual({ state: 'unknown' })
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    expect(await session.ask(0)).toEqual({ state: 'held' })
    await until('it is well', () => log.events().includes('ledger_reachable'))
    time.advanceSeconds(5)
    expect(await session.lease(0)).toMatchObject({ inDoubt: true })
  })
})
