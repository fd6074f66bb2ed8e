import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  configSchema,
  openRedisLedger,
  systemClock,
  type Clock,
  type Ledger,
  type RedisLedgerOptions,
} from '@token-handler/shared'
import { makeCertificates, writeCertificates } from '../support/certificates.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { freePort } from '../support/free-port.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { startRelay, type Relay } from '../support/relay.ts'
import { until } from '../support/until.ts'
import { startLedgerProcess } from '../shared/ledger-processes.ts'
import { beginSession, leaseSeconds } from '../shared/ledger-session.ts'
import { sqliteConfig } from '../shared/sqlite-file.ts'

describe('the redis ledger', () => {
  let time: FakeClock
  let log: KeptLog
  const closing: { close(): Promise<void> }[] = []
  const opened = <T extends { close(): Promise<void> }>(each: T): T => {
    closing.unshift(each)
    return each
  }
  const redis = async (...settings: string[]): Promise<RedisServer> => opened(await startRedis(settings))
  async function open(options: Partial<RedisLedgerOptions> & { url: string }): Promise<Ledger> {
    const given = { keyPrefix: 'test', clock: systemClock, logger: log.logger, ledgerTime: () => time.now() }
    const ledger = opened(await openRedisLedger({ ...given, ...options }))
    time.advanceSeconds(5)
    return ledger
  }
  const answers = (ledger: Ledger) => async (): Promise<boolean> =>
    (await ledger.holds('any', 'lease')).state !== 'unknown'

  beforeEach(() => {
    time = fakeClock()
    log = keptLog()
  })

  afterEach(async () => {
    for (const each of closing.splice(0)) await each.close()
  })

  describe('with a replica', () => {
    let primary: RedisServer
    let replica: RedisServer
    let relay: Relay
    let ledger: Ledger

    beforeEach(async () => {
      primary = await redis('--repl-diskless-sync-delay', '0')
      replica = await redis('--replicaof', '127.0.0.1', String(primary.port))
      await until('the replica follows', async () => /master_link_status:up/.test(await replica.command('INFO')))
      // Up is not following yet: what is written arrives from the replica's first confirmation on, up to a second later.
      await primary.command('SET', 'any', 'thing')
      await replicated()
      relay = opened(await startRelay(primary.port))
      ledger = await open({ url: `redis://127.0.0.1:${relay.port}` })
    })

    async function replicated(): Promise<void> {
      const offset = async (server: RedisServer, name: string): Promise<number> =>
        Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await server.command('INFO', 'replication'))?.[1])
      const written = await offset(primary, 'master_repl_offset')
      await until('the replica has it all', async () => (await offset(replica, 'slave_repl_offset')) >= written)
    }

    async function failOver(): Promise<void> {
      await replica.command('REPLICAOF', 'NO', 'ONE')
      relay.leadTo(replica.port)
      await until('it answers', answers(ledger))
    }

    it('answers that a session is over when the replica knows it, too', async () => {
      const session = await beginSession(ledger)
      expect(await session.end('logout')).toMatchObject({ state: 'ended' })
      expect(await replica.command('HGET', '{test}:rules', `sid:${session.sid}`)).toMatch(/ logout$/)
      expect(log.events()).toEqual([])
    })

    it('ends a session though the replica hangs, and says so in the log', async () => {
      const session = await beginSession(ledger)
      replica.pause()
      expect(await session.end('logout')).toMatchObject({ state: 'ended' })
      expect(await session.look(0)).toEqual({ state: 'ended', reason: 'logout' })
      expect(log.events()).toEqual(['rule_not_replicated'])
      replica.resume()
    })

    it('ends many sessions at once though the replica hangs', async () => {
      const sessions = await Promise.all(Array.from({ length: 40 }, () => beginSession(ledger)))
      const isHeard = new Promise((resolve) => ledger.rules.onRule(resolve))
      replica.pause()
      const first = sessions.slice(0, 20).map((session) => session.end('logout'))
      // These come while the first ones wait.
      await isHeard
      const others = sessions.slice(20).map((session) => session.end('logout'))
      expect(await Promise.all([...first, ...others])).toMatchObject(sessions.map(() => ({ state: 'ended' })))
      expect(new Set(log.events())).toEqual(new Set(['rule_not_replicated']))
      replica.resume()
    })

    it('goes on after a failover that lost nothing', async () => {
      const session = await beginSession(ledger)
      await session.refreshTo(2)
      await replicated()
      const { id } = await session.lease(2)
      await replicated()
      await failOver()
      expect(await ledger.holds(session.sid, id)).toEqual({ state: 'held' })
      expect(await session.ask(1)).toMatchObject({ state: 'successors', generation: 2 })
      expect(log.events()).not.toContain('ledger_lost')
    })

    it('notices a failover that lost a lease, and does not send the refresh token blindly', async () => {
      const session = await beginSession(ledger)
      await session.refreshTo(1)
      await replicated()
      await replica.command('REPLICAOF', 'NO', 'ONE')
      await session.lease(1)
      await failOver()
      expect(log.events()).toContain('ledger_lost')
      expect(await session.ask(1)).toEqual({ state: 'held' })
      time.advanceSeconds(leaseSeconds)
      expect(await session.lease(1)).toMatchObject({ inDoubt: true })
    })

    it('[B-LO-08] puts back the end of a session that a failover lost', async () => {
      const session = await beginSession(ledger)
      await replicated()
      await replica.command('REPLICAOF', 'NO', 'ONE')
      await session.end('logout')
      await failOver()
      expect(await session.ask(0)).toEqual({ state: 'ended', reason: 'logout' })
      const another = await open({ url: replica.url })
      expect(another.rules.endOf(session.identity)).toBe('logout')
    })

    it('does not go on with the old primary after it became a replica', async () => {
      const session = await beginSession(ledger)
      await replicated()
      await primary.command('REPLICAOF', '127.0.0.1', String(replica.port))
      await replica.command('REPLICAOF', 'NO', 'ONE')
      expect(await session.ask(0)).toEqual({ state: 'unknown' })
      relay.leadTo(replica.port)
      await until('it answers', answers(ledger))
      expect(await session.look(0)).toMatchObject({ state: 'current' })
    })
  })

  it('does not wait for a replica that has no copy yet', async () => {
    const primary = await redis('--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '3600')
    await redis('--replicaof', '127.0.0.1', String(primary.port))
    const isThere = async () => /^slave0:.*state=wait_bgsave/m.test(await primary.command('INFO', 'replication'))
    await until('the replica asks for a copy', isThere)
    const ledger = await open({ url: primary.url })
    expect(await (await beginSession(ledger)).end('logout')).toMatchObject({ state: 'ended' })
    expect(log.events()).toEqual([])
  })

  it('answers unknown while the network is stuck, and catches up on rules after it', async () => {
    const server = await redis()
    const relay = opened(await startRelay(server.port))
    const cutOff = await open({ url: `redis://127.0.0.1:${relay.port}` })
    const other = await open({ url: server.url })
    const session = await beginSession(other)
    relay.hold()
    expect(await session.on(cutOff).look(0)).toEqual({ state: 'unknown' })
    await session.end('logout')
    expect(cutOff.rules.endOf(session.identity)).toBeUndefined()
    relay.release()
    await until('it answers', answers(cutOff))
    expect(cutOff.rules.endOf(session.identity)).toBe('logout')
  })

  it('lets rules reach another process at once', async () => {
    const server = await redis()
    const [one, other] = [await open({ url: server.url }), await open({ url: server.url })]
    const delays: number[] = []
    for (let round = 0; round < 20; round++) {
      const session = await beginSession(one)
      const seen = new Promise<number>((resolve) => {
        const stop = other.rules.onRule((isOver) => {
          if (!isOver(session.identity)) return
          stop()
          resolve(performance.now())
        })
      })
      const since = performance.now()
      await session.end('logout')
      delays.push((await seen) - since)
    }
    expect(Math.max(...delays)).toBeLessThan(1000)
  })

  it('[E-CK-02] goes by the clock of the server, however wrong those of the processes are', async () => {
    const server = await redis()
    const skewed = (ms: number): Clock => ({ now: () => Date.now() + ms, monotonic: () => performance.now() })
    const given = { url: server.url, keyPrefix: 'skew', logger: log.logger }
    const early = opened(await openRedisLedger({ ...given, clock: skewed(-60_000) }))
    const late = opened(await openRedisLedger({ ...given, clock: skewed(60_000) }))
    const session = await beginSession(late)
    expect(Math.abs(session.identity.startedAt - Date.now())).toBeLessThan(5000)
    const { id } = await session.lease(0)
    expect(await early.holds(session.sid, id)).toEqual({ state: 'held' })
    expect(await session.on(early).ask(0)).toEqual({ state: 'held' })
    expect([early, late].map(({ rules }) => rules.staleForMs() < 5000)).toEqual([true, true])
    await session.on(early).end('logout')
    await until('the rule arrives', () => late.rules.endOf(session.identity) === 'logout')
  })

  it('notices rules that it has missed', async () => {
    const server = await redis()
    const [one, other] = [await open({ url: server.url }), await open({ url: server.url })]
    const session = await beginSession(one)
    // The entry is gone before it is read, as in a feed that was trimmed.
    await server.command('EVAL', trimmedRule, '0', `sid:${session.sid}`)
    await until('both know it', () => [one, other].every(({ rules }) => rules.endOf(session.identity) !== undefined))
    expect(other.rules.endOf(session.identity)).toBe('revoked')
  })

  it('[B-RT-04] grants every lease and takes every commit once, however many processes ask', async () => {
    const last = 100
    const { url } = await redis()
    const ledger = opened(await openRedisLedger({ url, keyPrefix: 'race', clock: systemClock, logger: log.logger }))
    const { identity } = await beginSession(ledger)
    const ledgerConfig = configSchema.shape.ledger.parse({ type: 'redis', url, key_prefix: 'race' })
    const config = { ...sqliteConfig('unused'), ledger: ledgerConfig }
    const processes = await Promise.all([1, 2, 3].map(() => startLedgerProcess(config)))
    const results = await Promise.all(processes.map((each) => each.race(identity, last)))
    await Promise.all(processes.map((each) => each.kill()))
    expect(results.flatMap(({ surprises }) => surprises)).toEqual([])
    const committed = results.flatMap((result) => result.committed).toSorted((a, b) => a - b)
    expect(committed).toEqual(Array.from({ length: last }, (_, generation) => generation))
  })

  it('speaks TLS, and trusts only the given authority', async () => {
    const [certificates, others] = await Promise.all([makeCertificates(['localhost']), makeCertificates(['localhost'])])
    const { folder, certificateFile, privateKeyFile } = writeCertificates(certificates)
    const [caFile, wrongCaFile] = [join(folder, 'ca.pem'), join(folder, 'wrong-ca.pem')]
    writeFileSync(caFile, certificates.authority)
    writeFileSync(wrongCaFile, others.authority)
    const tlsPort = await freePort()
    const files = ['--tls-cert-file', certificateFile, '--tls-key-file', privateKeyFile, '--tls-ca-cert-file', caFile]
    await redis(...files, '--tls-auth-clients', 'no', '--tls-port', String(tlsPort))
    const url = `rediss://localhost:${tlsPort}`
    const ledger = await open({ url, caFile })
    expect(await (await beginSession(ledger)).look(0)).toMatchObject({ state: 'current' })
    const distrustful = await open({ url, caFile: wrongCaFile })
    expect(distrustful.rules.staleForMs()).toBe(Infinity)
    rmSync(folder, { recursive: true })
  })

  it('keeps all its keys in one slot of a cluster', async () => {
    const server = await redis('--cluster-enabled', 'yes')
    await server.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until('the cluster is up', async () => /cluster_state:ok/.test(await server.command('CLUSTER', 'INFO')))
    const ledger = await open({ url: server.url })
    const session = await beginSession(ledger)
    await session.refreshTo(2)
    await ledger.claimLogin('login')
    expect(await session.end('logout')).toMatchObject({ state: 'ended' })
    const keys = (await server.command('KEYS', '*')).split('\n')
    expect(keys.length).toBeGreaterThan(5)
    expect(new Set(await Promise.all(keys.map((key) => server.command('CLUSTER', 'KEYSLOT', key)))).size).toBe(1)
  })
})

const trimmedRule = `
redis.call('HSET', '{test}:rules', ARGV[1], '9007199254740991 9007199254740991 revoked')
redis.call('HINCRBY', '{test}:meta', 'rules', 1)
return 1
`
