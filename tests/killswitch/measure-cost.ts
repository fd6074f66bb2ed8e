import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteLedger, silentLogger, systemClock } from '@token-handler/shared'
import { cpuSeconds, residentMegabytes } from '../bench/accounting.ts'
import { Load } from '../bench/load.ts'
import { place } from '../bench/placement.ts'
import { shuffled, spreadOf, type Spread } from '../bench/statistics.ts'
import { requestOf } from './clients.ts'
import { startFleet, type Fleet, type Replica } from './fleet.ts'
import type { KillswitchOptions } from './options.ts'

/** What a request costs a replica, by how many rules it holds. */
export interface Cost {
  readonly held: number
  /** CPU time of the replica a request, microseconds. */
  readonly cpuMicroseconds: Spread
  /** The same over that of the first replica, round by round. */
  readonly cpuRatio: Spread
  readonly residentMegabytes: number
}

const connections = 8
/** They take turns, and the replicas remember them all: what rules cost stands out most where little else does. */
const sessions = 200
/** Times that all replicas start anew: two processes of one program can differ by a tenth for as long as they live. */
const mostStarts = 3
const warmUpRequests = 100_000
/** Load of a round, in pieces between those of the others: what disturbs the machine for a second disturbs all alike. */
const roundSeconds = 1.6
const slices = 8

/** One replica for each number of rules, all at once; rounds of load go to one after the other, so that noise meets all. */
export async function measureCost({ held, rounds }: KillswitchOptions): Promise<readonly Cost[]> {
  const isQuick = rounds === 1
  const fleet = await startFleet('sqlite')
  try {
    const requests = Array.from({ length: sessions }, (_, index) =>
      requestOf('/api/orders', fleet.session(`subject-${index}`).cookie),
    )
    for (const rules of held) await writeRules(join(fleet.folder, fileOf(rules)), rules)
    place('others', process.pid)
    const costs = held.map(() => [] as number[])
    const memory = held.map(() => 0)
    const starts = Math.min(rounds, mostStarts)
    for (let start = 0; start < starts; start++) {
      const replicas = await startReplicas(fleet, held)
      for (const { port } of replicas) await load(port, requests, 0, isQuick ? 0 : warmUpRequests)
      for (let round = start; round < rounds; round += starts) {
        const sums = await measureRound(replicas, requests, isQuick)
        sums.forEach((cost, index) => costs[index]?.push(cost))
      }
      for (const [index, { pid }] of replicas.entries()) memory[index] = residentMegabytes([pid])
      for (const replica of replicas) await replica.kill()
    }
    return held.map((rules, index) => ({
      held: rules,
      cpuMicroseconds: spreadOf(costs[index] ?? []),
      cpuRatio: spreadOf((costs[index] ?? []).map((cost, round) => cost / (costs[0]?.[round] ?? NaN))),
      residentMegabytes: memory[index] ?? 0,
    }))
  } finally {
    place('anywhere', process.pid)
    await fleet.close()
  }
}

function fileOf(rules: number): string {
  return `rules-${rules}.db`
}

async function startReplicas(fleet: Fleet, held: readonly number[]): Promise<readonly Replica[]> {
  const replicas: Replica[] = []
  for (const rules of held) {
    const replica = await fleet.start({ file: fileOf(rules) })
    place('contender', replica.pid)
    replicas.push(replica)
  }
  return replicas
}

/** @returns CPU time a request in microseconds, in the order of the replicas. */
async function measureRound(
  replicas: readonly Replica[],
  requests: readonly Buffer[],
  isQuick: boolean,
): Promise<readonly number[]> {
  const sums = replicas.map((replica) => ({ replica, cpu: 0, answered: 0 }))
  for (let slice = 0; slice < slices; slice++) {
    for (const sum of shuffled(sums)) {
      const { pid, port } = sum.replica
      const before = cpuSeconds([pid])
      // Even a smoke run uses some of the operating system's ticks.
      sum.answered += await load(port, requests, isQuick ? 0 : roundSeconds / slices, 200)
      sum.cpu += cpuSeconds([pid]) - before
    }
  }
  return sums.map(({ cpu, answered }) => (cpu / answered) * 1e6)
}

/** Ends of so many sessions that nobody shows again. */
async function writeRules(path: string, count: number): Promise<void> {
  await (await openSqliteLedger({ path, clock: systemClock, logger: silentLogger })).close()
  const database = new DatabaseSync(path)
  const insert = database.prepare('INSERT INTO rule (key, before, reason, expires_at) VALUES (?, ?, ?, ?)')
  const expiresAt = Date.now() + 43_200_000
  database.exec('BEGIN')
  for (let rule = 0; rule < count; rule++) {
    insert.run(`sid:${randomBytes(16).toString('base64url')}`, Number.MAX_SAFE_INTEGER, 'logout', expiresAt)
  }
  database.exec('COMMIT')
  database.close()
}

/** @returns How many requests were answered. */
async function load(port: number, requests: readonly Buffer[], seconds: number, least: number): Promise<number> {
  const opened = await Load.open(port, connections, requests, 0)
  const { requests: answered } = await opened.saturate({ seconds, minRequests: least })
  opened.close()
  return answered
}
