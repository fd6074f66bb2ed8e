import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Reachability } from './reachability.ts'
import { RedisFailure, type RedisConnection } from './redis-connection.ts'
import {
  heartbeatScript,
  renewScript,
  ruleScript,
  stateScript,
  sweepScript,
  sweptAtOnce,
  writerMs,
  type RedisKeys,
} from './redis-scripts.ts'
import { RuleSet, type Rule, type RuleKey, type RuleSettings } from './rules.ts'

/**
 * Keeps one process in step with the server: which incarnation it is, what time it has, and every rule. A server that
 * comes back empty or behind gets the rules of this process before anybody may take a session's word for it.
 */
export interface RedisFeed {
  readonly rules: RuleSet
  /** What was synchronised with, or `undefined` while that has to be done (again): nothing is decided then. */
  readonly incarnation: Incarnation | undefined
  /** The server's clock as estimated here, milliseconds. */
  now(): number
  /** Every answer that tells the server's time and incarnation comes through here. @returns The ledger's time. */
  observe(serverMs: unknown, incarnation: unknown): number
  /** The connection is down, or another server answers. */
  distrust(): void
  /** How far the feed was followed. */
  position(): string
  /** This process wrote, and the server says for the how manieth time. */
  wrote(writes: number): void
  /** Loads state and rules; requests made meanwhile share one run. @throws RedisFailure */
  synchronise(): Promise<void>
  /** Follows the feed, writes heartbeats, forgets what expired, until it is closed. */
  start(): void
  close(): void
}

export interface Incarnation {
  readonly id: string
  readonly at: number
}

export interface RedisFeedOptions {
  readonly keys: RedisKeys
  /** Key that counts the writes of this process. */
  readonly writer: string
  readonly connection: RedisConnection
  /** For the command that waits. */
  readonly waiting: RedisConnection
  readonly clock: Clock
  readonly logger: Logger
  readonly reachability: Reachability
  readonly lossRule: ((incarnationAt: number) => Rule) | undefined
  readonly ledgerTime: (serverMs: number) => number
  readonly ruleSettings: RuleSettings | undefined
}

const heartbeatMs = 1000
const sweepMs = 60_000
const blockMs = 1000
/** The server answers, and the feed is silent in spite of heartbeats: it is not the feed that we followed. */
const longestSilenceMs = 4000
const pauseMs = 50

export function createRedisFeed(options: RedisFeedOptions): RedisFeed {
  const { keys, writer, connection, waiting, clock, logger, reachability, lossRule, ledgerTime, ruleSettings } = options
  /** Server time less monotonic time. */
  let offsetMs: number | undefined
  const serverNow = (): number => (offsetMs === undefined ? clock.now() : offsetMs + clock.monotonic())
  const now = (): number => ledgerTime(Math.floor(serverNow()))

  /** Server time of the last sign that no rule was missed. */
  let beatAt = -Infinity
  const rules = new RuleSet(
    { now, monotonic: () => clock.monotonic() },
    () => Math.max(0, Math.floor(serverNow() - beatAt)),
    ruleSettings,
  )
  let incarnation: Incarnation | undefined
  /** What this process knew last, however long ago: the measure for a server that is behind. */
  let known: State | undefined
  let running: Promise<void> | undefined
  let distrusted = 0
  /** The latest time that the ledger is known to have had. */
  let observedAt = 0
  let writes = 0
  /** The server's time when it forgets how often this process has written, unless it hears of it before. */
  let writesKeptUntil = Infinity
  let isClosed = false

  function distrust(): void {
    distrusted += 1
    incarnation = undefined
    if (!isClosed) void synchronise().catch(giveUp)
  }

  function observe(serverMs: unknown, id: unknown): number {
    offsetMs = Number(serverMs) - clock.monotonic()
    if (incarnation !== undefined && id !== incarnation.id) distrust()
    observedAt = Math.max(observedAt, ledgerTime(Number(serverMs)))
    return ledgerTime(Number(serverMs))
  }

  function wrote(count: number): void {
    writes = Math.max(writes, count)
  }

  async function readState(): Promise<State> {
    const reply = await connection.script(stateScript, [keys.meta, keys.feed, writer], [])
    const [serverMs, id, at, count, lastId, written] = reply as StateReply
    offsetMs = Number(serverMs) - clock.monotonic()
    return {
      serverMs: Number(serverMs),
      incarnation: id === null ? undefined : { id, at: Number(at) },
      count: Number(count),
      lastId,
      writes: Number(written),
    }
  }

  async function run(): Promise<void> {
    for (;;) {
      const trust = distrusted
      // What arrives over other connections while this answer is on its way may be newer than the answer.
      const before = known && { ...known, writes, writesKeptUntil }
      const state = await reconcile(await readState(), before)
      await loadRules()
      known = state
      wrote(state.writes)
      await proveWell().catch(tell)
      // Another connection, or another server, since then: this state may be of the one before.
      if (trust !== distrusted) continue
      incarnation = state.incarnation
      beatAt = state.serverMs
      // The first answer ever.
      if (!reachability.isFailing) reachability.succeeded(now())
      return
    }
  }

  /** A server that is full still answers: only a write tells that it is well again. */
  async function proveWell(): Promise<void> {
    if (!reachability.isFailing) return
    wrote(Number(await connection.command(['INCR', writer])))
    reachability.succeeded(now())
  }

  /** Makes the server a store that may be trusted: with a name, and with every rule that this process knows. */
  async function reconcile(state: State, before: Remembered | undefined): Promise<State> {
    const isOther = before !== undefined && before.incarnation?.id !== state.incarnation?.id
    const isBehind = !isOther && before !== undefined && isOlder(state, before)
    if (!isOther && !isBehind && state.incarnation !== undefined) return state
    if (before !== undefined)
      logger.error({ event: 'ledger_lost', ledger: 'redis' }, 'Redis lost what it had recorded.')
    for (const rule of rules.inForce()) await writeRule(rule)
    if (isBehind || state.incarnation === undefined) await renew(state)
    // What the server lost of them it does not count again.
    writes = 0
    const renewed = await readState()
    if (renewed.incarnation === undefined) throw new RedisFailure('lost')
    return renewed
  }

  /** Another process may do the same at the same time; one of them gives the new incarnation its name. */
  async function renew({ incarnation: lost, serverMs }: State): Promise<void> {
    // Later than the sessions that began before, even if the clock of this server is behind that of the last one.
    const at = Math.max(ledgerTime(serverMs), observedAt)
    if (lossRule !== undefined) await writeRule(lossRule(at))
    await connection.script(
      renewScript,
      [keys.meta],
      [lost?.id ?? '', randomBytes(12).toString('base64url'), String(at)],
    )
  }

  function writeRule(rule: Rule): Promise<unknown> {
    return connection.script(
      ruleScript,
      [keys.meta, keys.rules, keys.ruleExpiry, keys.feed, writer],
      [rule.key, String(rule.before), String(rule.expiresAt), rule.reason],
    )
  }

  async function loadRules(): Promise<void> {
    let cursor = '0'
    do {
      const reply = await connection.command(['HSCAN', keys.rules, cursor, 'COUNT', '1000'])
      const [next, fields] = reply as [string, string[]]
      rules.addAll(pairs(fields).map(([key, text]) => parseRule(key, text)))
      cursor = next
    } while (cursor !== '0')
  }

  function synchronise(): Promise<void> {
    running ??= run().finally(() => {
      running = undefined
    })
    return running
  }

  async function follow(): Promise<void> {
    for (;;) {
      if (isClosed) return
      try {
        if (incarnation === undefined) await synchronise()
        await readFeed()
      } catch (error) {
        tell(error)
        await sleep(pauseMs)
      }
    }
  }

  async function readFeed(): Promise<void> {
    const from = known!.lastId
    const args = ['XREAD', 'COUNT', '1000', 'BLOCK', String(blockMs), 'STREAMS', keys.feed, from]
    const reply = (await waiting.command(args, blockMs + 1500)) as [string, [string, string[]][]][] | null
    // A synchronisation meanwhile has its own idea of where to go on.
    if (known!.lastId !== from) return
    for (const [id, fields] of reply?.[0]?.[1] ?? []) {
      const entry = Object.fromEntries(pairs(fields))
      const count = Number(entry['count'])
      if (entry['key'] !== undefined) rules.add(parseRule(entry['key'], entry['rule'] ?? ''))
      // Entries that were trimmed before they were read, or a feed that is not the one we followed.
      if (count !== known!.count + (entry['key'] === undefined ? 0 : 1)) return distrust()
      known = { ...known!, lastId: id, count }
      if (entry['beat'] !== undefined) beatAt = Number(entry['beat'])
    }
    if (serverNow() - beatAt > longestSilenceMs) distrust()
  }

  async function beat(): Promise<void> {
    rules.checkStaleness()
    try {
      const reply = await connection.script(heartbeatScript, [keys.meta, keys.feed, writer], [])
      const [serverMs, id] = reply as [string, string | null]
      observe(serverMs, id)
      if (Number(serverMs) >= writesKeptUntil) writes = 0
      writesKeptUntil = Number(serverMs) + writerMs
      if (incarnation !== undefined) await proveWell()
    } catch (error) {
      tell(error)
    }
  }

  function tell(error: unknown): void {
    if (!(error instanceof RedisFailure)) throw error
    // Our own end cuts off whatever waits at the server.
    if (!isClosed) reachability.failed(error.reason, error)
  }

  async function sweep(): Promise<void> {
    rules.forgetExpired()
    const sweeps = [sweepRules(), connection.command(['ZREMRANGEBYSCORE', keys.sessions, '-inf', `(${now()}`])]
    // The next sweep finds the same.
    await Promise.allSettled(sweeps)
  }

  /** Some at a time, for the server does nothing else meanwhile. */
  async function sweepRules(): Promise<void> {
    let swept: unknown
    do swept = await connection.script(sweepScript, [keys.rules, keys.ruleExpiry], [])
    while (swept === sweptAtOnce)
  }

  const timers: NodeJS.Timeout[] = []
  return {
    rules,
    get incarnation() {
      return incarnation
    },
    now,
    observe,
    distrust,
    position: () => known?.lastId ?? '',
    wrote,
    synchronise,
    start() {
      timers.push(setInterval(() => void beat(), heartbeatMs).unref(), setInterval(() => void sweep(), sweepMs).unref())
      void sweep()
      void follow()
    },
    close() {
      isClosed = true
      distrust()
      for (const timer of timers) clearInterval(timer)
    },
  }
}

interface State {
  readonly serverMs: number
  readonly incarnation: Incarnation | undefined
  /** How many rules were ever written. */
  readonly count: number
  readonly lastId: string
  /** How often this process has written. */
  readonly writes: number
}

/** What a server was known to have, and until when it keeps the count of a process that it does not hear of. */
interface Remembered extends State {
  readonly writesKeptUntil: number
}

type StateReply = [string, string | null, string | null, string, string, string]

/** Whether a server lacks what it had: a failover to a replica that was behind, or a restart from an older file. */
function isOlder(state: State, before: Remembered): boolean {
  const areWritesLost = state.writes < before.writes && state.serverMs < before.writesKeptUntil
  return areWritesLost || state.count < before.count || compareIds(state.lastId, before.lastId) < 0
}

function giveUp(error: unknown): void {
  // Following the feed starts with the same, and tells.
  if (!(error instanceof RedisFailure)) throw error
}

export function parseRule(key: string, text: string): Rule {
  const [before, expiresAt, reason] = text.split(' ')
  return { key: key as RuleKey, before: Number(before), expiresAt: Number(expiresAt), reason: reason as Rule['reason'] }
}

/** Stream ids: milliseconds, dash, number within the millisecond. */
function compareIds(a: string, b: string): number {
  const [aMs, aSeq] = a.split('-').map(Number)
  const [bMs, bSeq] = b.split('-').map(Number)
  return aMs! - bMs! || aSeq! - bSeq!
}

function pairs(fields: readonly string[]): [string, string][] {
  return fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1] ?? ''] as [string, string]] : []))
}
