import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { RedisFailure, type RedisConnection } from '../../shared/src/ledger/redis-connection.ts'
import { createRedisFeed, type RedisFeed } from '../../shared/src/ledger/redis-feed.ts'
import { heartbeatScript, redisKeys, renewScript, stateScript } from '../../shared/src/ledger/redis-scripts.ts'
import { trackReachability } from '../../shared/src/ledger/reachability.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { until } from '../support/until.ts'

const dayMs = 86_400_000

/** A server whose state, time and order of answers on two connections a test decides. */
class ScriptedServer {
  incarnation = 'one'
  lastId = '1-0'
  writes = 4
  heartbeats = 0
  /** Refuses to write. */
  isFull = false
  readonly clock: FakeClock
  /** Answers to the question for its state wait for this. */
  stateAnswers: Promise<unknown> = Promise.resolve()
  /** Heartbeats are answered by this. */
  heartbeatAnswers: Promise<unknown> = Promise.resolve()
  #follower: ((entries: unknown) => void) | undefined
  #disconnect: (() => void) | undefined

  constructor(clock: FakeClock) {
    this.clock = clock
  }

  readonly connection: RedisConnection = {
    script: async (script, _keys, args) => {
      const now = String(this.clock.now())
      if (script === heartbeatScript) {
        this.heartbeats += 1
        await this.heartbeatAnswers
        if (this.isFull) throw new RedisFailure('oom')
        return [now, this.incarnation]
      }
      if (script === renewScript) this.incarnation = args[1]!
      if (script !== stateScript) return 1
      const state = [now, this.incarnation, '0', '0', this.lastId, String(this.writes)]
      await this.stateAnswers
      return state
    },
    command: async ([name]) => {
      if (this.isFull && name === 'INCR') throw new RedisFailure('oom')
      return name === 'HSCAN' ? ['0', []] : 0
    },
    close: () => undefined,
  }

  readonly waiting: RedisConnection = {
    script: () => Promise.reject(new RedisFailure('offline')),
    command: () =>
      new Promise((resolve, reject) => {
        this.#follower = resolve
        this.#disconnect = () => reject(new RedisFailure('offline'))
      }),
    close: () => this.#disconnect?.(),
  }

  get isFollowed(): boolean {
    return this.#follower !== undefined
  }

  /** A heartbeat, at once with whoever follows the feed. */
  beat(id: string): void {
    this.lastId = id
    const follower = this.#follower
    this.#follower = undefined
    follower?.([['feed', [[id, ['count', '0', 'beat', String(this.clock.now())]]]]])
  }
}

describe('what tells a healthy redis from one that lost something', () => {
  let clock: FakeClock
  let server: ScriptedServer
  let log: KeptLog
  let feed: RedisFeed

  beforeEach(async () => {
    clock = fakeClock()
    server = new ScriptedServer(clock)
    log = keptLog()
    const keys = redisKeys('test')
    feed = createRedisFeed({
      keys,
      writer: keys.writer('this process'),
      connection: server.connection,
      waiting: server.waiting,
      clock,
      logger: log.logger,
      reachability: trackReachability('redis', log.logger),
      lossRule: undefined,
      ledgerTime: (serverMs) => serverMs,
      ruleSettings: undefined,
    })
    await feed.synchronise()
    feed.start()
    await until('the feed is followed', () => server.isFollowed)
  })

  afterEach(() => feed.close())

  /** The connection is made anew; `meanwhile` happens while the server's answer is on its way. */
  async function reconnect(meanwhile?: () => void | Promise<void>): Promise<void> {
    let arrive = (): void => undefined
    server.stateAnswers = new Promise<void>((resolve) => (arrive = resolve))
    feed.distrust()
    await meanwhile?.()
    arrive()
    await feed.synchronise()
  }
  const heartbeat = async (): Promise<void> => {
    const before = server.heartbeats
    await until('a heartbeat is written', () => server.heartbeats > before)
  }
  const losses = (): number => log.events().filter((event) => event === 'ledger_lost').length

  it('is not the feed running ahead of an answer that comes late', async () => {
    await reconnect(async () => {
      server.beat('2-0')
      await until('the heartbeat arrived', () => feed.position() === '2-0')
    })
    expect([losses(), server.incarnation, feed.incarnation?.id]).toEqual([0, 'one', 'one'])
  })

  it('is not a write that is confirmed while the answer is on its way, and that write is not forgotten', async () => {
    await reconnect(() => feed.wrote(5))
    expect(losses()).toBe(0)
    await reconnect()
    expect([losses(), feed.incarnation?.id]).toEqual([1, server.incarnation])
    expect(server.incarnation).not.toBe('one')
    await reconnect()
    expect(losses()).toBe(1)
  })

  it('is the end of the feed, or a write, that the server does not know', async () => {
    server.lastId = '0-1'
    await reconnect()
    expect(losses()).toBe(1)
    server.writes = 3
    await reconnect()
    expect(losses()).toBe(2)
  })

  it('is not the count of writes of a process that was silent for more than a day', async () => {
    await heartbeat()
    clock.advance(dayMs)
    server.writes = 0
    await reconnect()
    expect([losses(), server.incarnation]).toEqual([0, 'one'])
  })

  it('is not that count either when the first that the server hears is a heartbeat', async () => {
    await heartbeat()
    clock.advance(dayMs)
    server.writes = 0
    await heartbeat()
    await reconnect()
    expect(losses()).toBe(0)
    feed.wrote(1)
    await reconnect()
    expect(losses()).toBe(1)
  })

  it('is that count of a process that was silent for less', async () => {
    await heartbeat()
    clock.advance(dayMs - 1)
    server.writes = 0
    await reconnect()
    expect(losses()).toBe(1)
  })

  it('says nothing of commands that its own end cut off', async () => {
    let cutOff = (): void => undefined
    server.heartbeatAnswers = new Promise((_, reject) => (cutOff = () => reject(new RedisFailure('offline'))))
    await heartbeat()
    feed.close()
    server.waiting.close()
    cutOff()
    await setImmediate()
    expect(log.events()).toEqual([])
  })

  it('says once that a server that is full is, however often its rules are read again, and once that it is well', async () => {
    server.isFull = true
    await heartbeat()
    await until('it is said', () => log.events().length > 0)
    await reconnect()
    await reconnect()
    expect([log.events(), feed.incarnation?.id]).toEqual([['ledger_unreachable'], 'one'])
    server.isFull = false
    await reconnect()
    expect(log.events()).toEqual(['ledger_unreachable', 'ledger_reachable'])
  })

  it('says once that a server that was lost is', async () => {
    server.waiting.close()
    await until('it is said', () => log.events().length > 0)
    expect(log.events()).toEqual(['ledger_unreachable'])
  })
})
