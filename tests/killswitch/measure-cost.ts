import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock, openSqliteLedger, silentLogger } from '@token-handler/shared'
import { stringify } from 'yaml'
import { cpuSeconds, residentMegabytes } from '../bench/accounting.ts'
import { LoadConnection } from '../bench/load-connection.ts'
import { shuffled, spreadOf, type Spread } from '../bench/statistics.ts'
import { workingFolder } from '../cli/command-line.ts'
import { configured } from '../shared/configuration.ts'
import { context, createSessionKit } from '../support/session-cookies.ts'
import { requestOf } from './clients.ts'
import { portOf, publicOrigin } from './fleet.ts'
import type { KillswitchOptions } from './options.ts'
import { startStreamingApi } from './streaming-api.ts'

/** What a request costs a replica, by how many rules it holds. */
export interface Cost {
  readonly held: number
  /** CPU time of the replica a request, microseconds. */
  readonly cpuMicroseconds: Spread
  readonly residentMegabytes: number
}

const connections = 8
const warmUpMs = 1500

/** One replica for each number of rules, all at once; rounds of load go to one after the other, so that noise meets all. */
export async function measureCost({ held, rounds }: KillswitchOptions): Promise<readonly Cost[]> {
  const folder = workingFolder()
  const kit = createSessionKit(systemClock)
  const api = await startStreamingApi()
  folder.write('keys.json', JSON.stringify(kit.keyFile))
  const cookie = kit.session({ exp: Math.floor(Date.now() / 1000) + 3600 }).cookie
  const request = requestOf('/api/orders', cookie)
  const roundMs = rounds > 1 ? 1500 : 100
  try {
    const replicas = []
    for (const rules of held) {
      const file = join(folder.path, `rules-${rules}.db`)
      await writeRules(file, rules)
      const name = `replica-${rules}.yaml`
      folder.write(
        name,
        stringify(
          configured({
            public_url: publicOrigin,
            listen: { port: 0 },
            shutdown_seconds: 0,
            authorization_server: {
              issuer: context.issuer,
              client_id: context.clientId,
              redirect_uri: `${publicOrigin}/callback`,
            },
            ledger: { type: 'sqlite', file },
            proxy: { routes: [{ path: '/api/orders', upstream: api.origin }] },
          }),
        ),
      )
      const { process: child } = folder.start(['start', '--only', 'proxy', '--config', name])
      replicas.push({ rules, pid: child.pid ?? 0, port: await portOf(child), costs: [] as number[] })
    }
    for (const { port } of replicas) await load(port, request, rounds > 1 ? warmUpMs : roundMs)
    for (let round = 0; round < rounds; round++) {
      for (const { pid, port, costs } of shuffled(replicas)) {
        const before = cpuSeconds([pid])
        const answered = await load(port, request, roundMs)
        costs.push(((cpuSeconds([pid]) - before) / answered) * 1e6)
      }
    }
    return replicas.map(({ rules, pid, costs }) => ({
      held: rules,
      cpuMicroseconds: spreadOf(costs),
      residentMegabytes: residentMegabytes([pid]),
    }))
  } finally {
    await folder.remove()
    await api.close()
  }
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
async function load(port: number, request: Buffer, forMs: number): Promise<number> {
  const open = await Promise.all(Array.from({ length: connections }, () => LoadConnection.open(port)))
  const deadline = performance.now() + forMs
  let answered = 0
  await Promise.all(
    open.map(
      (connection) =>
        new Promise<void>((resolve, reject) => {
          connection.listen(() => {
            answered++
            if (performance.now() < deadline) connection.send(request)
            else resolve()
          }, reject)
          connection.send(request)
        }),
    ),
  )
  for (const connection of open) connection.close()
  return answered
}
