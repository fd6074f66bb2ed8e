import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { openRedisLedger, silentLogger, systemClock } from '@token-handler/shared'
import { describeLedger } from '../shared/ledger-contract.ts'
import { randomSid } from '../shared/ledger-session.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())

describeLedger('redis', async (clock) => {
  const ledger = await openRedisLedger({
    url: redis.url,
    keyPrefix: randomSid(),
    clock: systemClock,
    logger: silentLogger,
    ledgerTime: () => clock.now(),
  })
  // A new process resolves no doubt in its first five seconds.
  clock.advanceSeconds(5)
  return {
    ledger,
    // The same process goes on, and has to notice.
    async lose() {
      await redis.command('FLUSHALL')
      await until('noticed', async () => (await ledger.holds('any', 'lease')).state !== 'unknown')
      return ledger
    },
    close: () => ledger.close(),
  }
})

it('forgets expired rules, however many there are', async () => {
  const keyPrefix = randomSid()
  const open = () => openRedisLedger({ url: redis.url, keyPrefix, clock: systemClock, logger: silentLogger })
  const rules = async (): Promise<number> => Number(await redis.command('HLEN', `{${keyPrefix}}:rules`))
  const writer = await open()
  const build = (subject: number) => (now: number) =>
    ({ key: `sub:${subject}`, before: now, reason: 'revoked', expiresAt: now - 1 }) as const
  await Promise.all(Array.from({ length: 1200 }, (_, subject) => writer.addRule(build(subject))))
  expect(await rules()).toBe(1200)
  await writer.close()
  const other = await open()
  await until('none is left', async () => (await rules()) === 0)
  await other.close()
})

it('puts a rule back that a server lost which has as many of others: each process counts its own', async () => {
  const keyPrefix = randomSid()
  const ledger = await openRedisLedger({ url: redis.url, keyPrefix, clock: systemClock, logger: silentLogger })
  const rule = { key: 'sub:alice', reason: 'revoked' } as const
  await ledger.addRule((now) => ({ ...rule, before: now, expiresAt: now + 60_000 }))
  // A replica that became the server: it did not get this write, and others have written as many rules since.
  const rules = `{${keyPrefix}}:rules`
  const writer = (await redis.command('KEYS', `{${keyPrefix}}:writer:*`)).trim()
  await redis.command('HDEL', rules, rule.key)
  await redis.command('DECR', writer)
  await redis.command('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('the rule is back', async () => (await redis.command('HEXISTS', rules, rule.key)).trim() === '1')
  expect(await redis.command('HGET', rules, rule.key)).toContain(rule.reason)
  await ledger.close()
})
