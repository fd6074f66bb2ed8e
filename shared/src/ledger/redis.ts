import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { loginMemorySeconds, type Ledger, type Unknown } from './ledger.ts'
import { logUnreadable, trackReachability } from './reachability.ts'
import { connectRedis, RedisFailure, type RedisConnection } from './redis-connection.ts'
import { createRedisFeed, type Incarnation } from './redis-feed.ts'
import { createRedisDirectory } from './redis-directory.ts'
import { putTokenScript, readScript, redisKeys, ruleScript, stateScript, writeScript } from './redis-scripts.ts'
import type { Rule, RuleSettings } from './rules.ts'
import { createLedger, type LedgerStore } from './store.ts'
import { readLogin, readSession, UnreadableRecordError, writeLogin, writeSession } from './stored-record.ts'
import { takeTurns } from './turns.ts'

export interface RedisLedgerOptions {
  /** `redis://` or `rediss://`, with user, password and database where they are needed. */
  readonly url: string
  /** All keys begin with `{keyPrefix}:`, which keeps them in one slot of a cluster. */
  readonly keyPrefix: string
  /** PEM file of the authority to trust, in place of the well-known ones. */
  readonly caFile?: string | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** Written when the server comes up empty or behind: ends what may have been lost, if it shall end. */
  readonly lossRule?: ((incarnationAt: number) => Rule) | undefined
  readonly rules?: RuleSettings | undefined
  /** The ledger's time at the server's, milliseconds: the same, unless a test stages it. */
  readonly ledgerTime?: (serverMs: number) => number
}

/** How long a start waits for the server; then it goes on, and is not ready until the rules are there. */
const patienceMs = 3000
/** Other processes may win this often in a row. Requests of this process about one session take turns. */
const attempts = 16
/** Records outlive every cookie of the session, so that one that is gone is surely over. */
const marginMs = 60_000
const replicaMs = 300
/** Answers that only the operator can change. */
const hopelessReasons = new Set(['wrongpass', 'noauth', 'noperm'])

/**
 * The ledger of any number of machines, in Redis 6 or newer, or Valkey.
 * @throws Error at once if the server refuses these credentials or may evict records; not if it cannot be reached.
 */
export async function openRedisLedger(options: RedisLedgerOptions): Promise<Ledger> {
  return createLedger(await openRedisStore(options))
}

async function openRedisStore(options: RedisLedgerOptions): Promise<LedgerStore> {
  const {
    url,
    keyPrefix,
    caFile,
    clock,
    logger,
    lossRule,
    rules: ruleSettings,
    ledgerTime = (serverMs) => serverMs,
  } = options
  const library = await import('@redis/client')
  const endpoint = { url, ca: caFile === undefined ? undefined : readFileSync(caFile, 'utf8') }
  const keys = redisKeys(keyPrefix)
  const writer = keys.writer(randomBytes(12).toString('base64url'))
  const reachability = trackReachability('redis', logger, Infinity)
  const inTurn = takeTurns()

  let lastFailure: RedisFailure | undefined
  const connection = connectRedis(library, endpoint, {
    events: {
      ready: () => feed.distrust(),
      lost(failure) {
        lastFailure = failure
        feed.distrust()
        reachability.failed(failure.reason, failure)
      },
    },
  })
  // Waiting for a replica stops a connection, and only the one that wrote may wait.
  const rulesConnection = connectRedis(library, endpoint)
  const waiting = connectRedis(library, endpoint, { isBlocking: true })
  const feed = createRedisFeed({
    keys,
    writer,
    connection,
    waiting,
    clock,
    logger,
    reachability,
    lossRule,
    ledgerTime,
    ruleSettings,
  })
  const { rules } = feed

  async function attempt<T>(work: () => Promise<T | Unknown>): Promise<T | Unknown> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof UnreadableRecordError) logUnreadable(logger, error)
      else if (error instanceof RedisFailure) reachability.failed(error.reason, error)
      else throw error
      return { state: 'unknown' }
    }
  }

  /** Reads, lets `step` decide, and writes if nobody else has written meanwhile. */
  async function compareAndSet<Answer>(
    key: string,
    step: (text: string | undefined, now: number, incarnation: Incarnation) => Taken<Answer>,
  ): Promise<Answer | Unknown> {
    for (let left = attempts; left > 0; left--) {
      const { incarnation } = feed
      if (incarnation === undefined) throw new RedisFailure('not_synchronised')
      const read = (await connection.script(readScript, [key, keys.meta], [])) as [string, string | null, string | null]
      const now = feed.observe(read[0], read[1])
      if (feed.incarnation?.id !== incarnation.id) throw new RedisFailure('lost')
      const old = read[2] ?? undefined
      const taken = step(old, now, incarnation)
      if (taken.text === undefined && taken.rule === undefined) return taken.answer
      const args = [incarnation.id, old ?? '', taken.text ?? '', String(Math.max(1, taken.expiresAt - now))]
      const indexed = taken.indexed && { ...taken.indexed, expiresAt: taken.expiresAt, now }
      const written = await write(key, args, taken.rule, indexed)
      if (written > 0) {
        feed.wrote(written)
        reachability.succeeded(now)
        if (taken.rule !== undefined) rules.add(taken.rule)
        return taken.answer
      }
      if (written === -1) {
        feed.distrust()
        throw new RedisFailure('lost')
      }
      await sleep(Math.random() * 5)
    }
    throw new RedisFailure('contention')
  }

  async function write(
    key: string,
    args: readonly string[],
    rule: Rule | undefined,
    indexed: (Indexed & { readonly expiresAt: number; readonly now: number }) | undefined,
  ): Promise<number> {
    const subject = indexed === undefined ? keys.sessions : keys.subject(indexed.subject)
    const all = [key, keys.meta, writer, keys.rules, keys.ruleExpiry, keys.feed, keys.sessions, subject]
    const ruleArgs = rule === undefined ? ['', '', '', ''] : ruleArguments(rule)
    const indexArgs = indexed === undefined ? [] : [indexed.sid, String(indexed.expiresAt), String(indexed.now)]
    const allArgs = [...args, ...ruleArgs, ...indexArgs]
    if (rule === undefined) return Number(await connection.script(writeScript, all, allArgs))
    const written = Number(await rulesConnection.script(writeScript, all, allArgs))
    if (written > 0) await replicated()
    return written
  }

  /** A rule should not be lost with the one server that has it. Who wrote before the wait begins shares it. */
  let replication: Promise<void> | undefined
  function replicated(): Promise<void> {
    replication ??= waitForReplica()
    return replication
  }

  async function waitForReplica(): Promise<void> {
    const told = await readInfo(rulesConnection, 'replication').finally(() => {
      replication = undefined
    })
    // One that is still given its first copy confirms nothing.
    if (!/^slave\d+:.*\bstate=online\b/m.test(told)) return
    const replicas = await rulesConnection.command(['WAIT', '1', String(replicaMs)])
    if (replicas === 0) {
      logger.warn(
        { event: 'rule_not_replicated', ledger: 'redis' },
        'No replica confirmed the end of a session in time.',
      )
    }
  }

  try {
    await firstContact()
  } catch (error) {
    close()
    throw error
  }
  feed.start()

  /** Waits for the server a little, and tells what waiting would not mend. */
  async function firstContact(): Promise<void> {
    const deadline = clock.monotonic() + patienceMs
    for (;;) {
      try {
        await feed.synchronise()
        return await checkEviction(connection, logger)
      } catch (error) {
        if (!(error instanceof RedisFailure)) throw error
        const reason = hopelessReasons.has(error.reason) ? error.reason : (lastFailure?.reason ?? error.reason)
        if (hopelessReasons.has(reason)) throw new Error(`the server answers ${reason.toUpperCase()}`, { cause: error })
        if (clock.monotonic() >= deadline) return
        await sleep(50)
      }
    }
  }

  function close(): void {
    feed.close()
    for (const each of [connection, rulesConnection, waiting]) each.close()
  }

  return {
    kind: 'redis',
    rules,
    position: () => feed.position(),
    ...createRedisDirectory({ keys, connection, feed, ledgerTime, attempt }),

    stepSession: (sid, step) =>
      inTurn(sid, () =>
        attempt(() =>
          compareAndSet(keys.session(sid), (text, now, { id, at }) => {
            const known = text === undefined ? undefined : readSession(text, id)
            const { answer, record, rule } = step(known, {
              now,
              incarnationAt: at,
              // Until something was written again, nobody knows since when it can be.
              reachableSince: reachability.isFailing ? Infinity : reachability.since,
              endOf: (session) => rules.endOf(session),
            })
            return {
              answer,
              rule,
              text: record === undefined ? undefined : writeSession(record, id),
              expiresAt: (record?.absoluteAt ?? 0) + marginMs,
              indexed:
                record?.owner === undefined || known?.owner !== undefined
                  ? undefined
                  : { sid, subject: record.owner.subject },
            }
          }),
        ),
      ),

    // What the index holds of it is of no record, and forgotten in time.
    putToken: ({ sid, reference, sealed, expiresAt }) =>
      attempt(async () => {
        const now = feed.now()
        const life = String(Math.max(1, Math.ceil(expiresAt - now)))
        const args = [reference, String(expiresAt), sealed, life, String(now)]
        await connection.script(putTokenScript, [keys.tokens(sid)], args)
        return { state: 'kept' } as const
      }),

    readToken: (sid, reference) =>
      attempt(async () => {
        const held = (await connection.command(['HGET', keys.tokens(sid), reference])) as string | null
        const [, expiresAt, sealed] = /^(\d+) (.*)$/s.exec(held ?? '') ?? []
        if (sealed === undefined || Number(expiresAt) <= feed.now()) return { state: 'absent' } as const
        return { state: 'found', sealed } as const
      }),

    async deleteTokens(sid) {
      await attempt(() => connection.command(['DEL', keys.tokens(sid)]))
    },

    async deleteSession(sid) {
      await attempt(() => connection.command(['DEL', keys.session(sid)]))
    },

    stepLogin: (id, step) =>
      attempt(() =>
        compareAndSet(keys.login(id), (text, now) => {
          const { answer, record } = step(text === undefined ? undefined : readLogin(text), now)
          return {
            answer,
            text: record === undefined ? undefined : writeLogin(record),
            expiresAt: (record?.claimedAt ?? 0) + loginMemorySeconds * 1000,
          }
        }),
      ),

    async addRule(build) {
      const added = await attempt(async () => {
        const [serverMs, id] = (await connection.script(stateScript, [keys.meta, keys.feed, writer], [])) as unknown[]
        const rule = build(feed.observe(serverMs, id))
        const all = [keys.meta, keys.rules, keys.ruleExpiry, keys.feed, writer]
        feed.wrote(Number(await rulesConnection.script(ruleScript, all, ruleArguments(rule))))
        await replicated()
        rules.add(rule)
        return { state: 'added' } as const
      })
      // Here it holds in any case, and is put into the server if that comes back empty.
      if (added.state === 'unknown') rules.add(build(feed.now()))
      return added
    },

    async close() {
      close()
    },
  }
}

/** What a step decided, as the server stores it. */
interface Taken<Answer> {
  readonly answer: Answer
  /** The record afterwards; left out when it stays as it is. */
  readonly text: string | undefined
  readonly expiresAt: number
  readonly rule?: Rule | undefined
  /** The record is to be found by its subject from now on. */
  readonly indexed?: Indexed | undefined
}

interface Indexed {
  readonly sid: string
  readonly subject: string
}

function ruleArguments({ key, before, expiresAt, reason }: Rule): string[] {
  return [key, String(before), String(expiresAt), reason]
}

/** A server that drops records when its memory is full would log people out. */
async function checkEviction(connection: RedisConnection, logger: Logger): Promise<void> {
  const memory = await readInfo(connection, 'memory')
  const [, policy] = /^maxmemory_policy:(\S+)/m.exec(memory) ?? []
  if (policy === undefined) {
    logger.warn(
      { event: 'redis_unchecked' },
      'Redis does not tell its maxmemory-policy; make sure that it is noeviction.',
    )
  } else if (policy !== 'noeviction' && !/^maxmemory:0\s*$/m.test(memory)) {
    throw new Error(`maxmemory-policy is ${policy}: the server would drop sessions; set it to noeviction`)
  }
}

/** @returns Nothing where the user may not ask. */
async function readInfo(connection: RedisConnection, section: string): Promise<string> {
  try {
    return String(await connection.command(['INFO', section]))
  } catch (error) {
    if (error instanceof RedisFailure && error.reason === 'noperm') return ''
    throw error
  }
}
