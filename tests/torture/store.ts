import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startRedis } from '../support/redis.ts'
import { startRelay } from '../support/relay.ts'
import type { Fault, FaultKind, KindAt } from './faults.ts'
import type { History, Outage } from './history.ts'
import type { StoreKind } from './options.ts'

/** The ledger's store, and what can happen to it. */
export interface TortureStore {
  /** The `ledger` section of an agent's configuration. */
  ledgerOf(agent: number): object
  /** How long it may take an agent to notice that the store is back. */
  readonly reconnectMs: number
  /** Has a fault strike. @returns When the store works again. */
  strike(fault: Fault<KindAt<'store'>>, agent: number, pid: number | undefined): Promise<void>
  /** An agent stopped: whatever it holds of the store is kept from the others until it goes on. */
  agentPaused(resumed: Promise<void>): Promise<void>
  close(): Promise<void>
}

const writer = fileURLToPath(new URL('sqlite-writer.ts', import.meta.url))

/** Faults that this machine has no means for. */
export function missingMeans(store: StoreKind): readonly FaultKind[] {
  return store === 'sqlite' && !hasProgram('prlimit') ? ['sqlite_full'] : []
}

export function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined
}

export async function startStore(
  kind: StoreKind,
  deps: { readonly folder: string; readonly agents: number; readonly history: History },
): Promise<TortureStore> {
  if (kind === 'none') return noStore
  return kind === 'sqlite' ? sqliteStore(deps) : redisStore(deps)
}

const noStore: TortureStore = {
  ledgerOf: () => ({ type: 'none' }),
  reconnectMs: 0,
  async strike() {},
  async agentPaused() {},
  async close() {},
}

function open(history: History, agent?: number): Outage {
  const outage: Outage = { kind: 'store', agent, from: Date.now(), to: undefined }
  history.outages.push(outage)
  return outage
}

function sqliteStore({ folder, history }: { readonly folder: string; readonly history: History }): TortureStore {
  const file = join(folder, 'ledger.db')
  return {
    ledgerOf: () => ({ type: 'sqlite', file: './ledger.db' }),
    reconnectMs: 300,
    async strike({ kind, severity }, agent, pid) {
      const outage = open(history, kind === 'sqlite_full' ? agent : undefined)
      if (kind === 'sqlite_full') {
        if (pid !== undefined) limitFileSize(pid, '1024')
        await sleep(200 + severity * 6000)
        if (pid !== undefined) limitFileSize(pid, 'unlimited')
      } else {
        const ms = kind === 'sqlite_lock' ? 100 + severity ** 2 * 9000 : severity * 500
        const child = spawn(process.execPath, [writer, file, kind, String(Math.round(ms))], {
          stdio: 'inherit',
          env: { ...process.env, NODE_NO_WARNINGS: '1' },
        })
        await once(child, 'exit')
      }
      outage.to = Date.now()
    },
    async agentPaused(resumed) {
      const from = Date.now()
      if (await canWrite(file)) return
      const outage = open(history)
      outage.from = from
      await resumed
      outage.to = Date.now()
    },
    async close() {},
  }
}

/** Whether nobody holds the write lock for longer than agents do that run. */
async function canWrite(file: string): Promise<boolean> {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    for (let attempts = 0; attempts < 50; attempts++) {
      try {
        database.exec('BEGIN IMMEDIATE; ROLLBACK')
        return true
      } catch {
        await sleep(10)
      }
    }
    return false
  } finally {
    database.close()
  }
}

/** The kernel then refuses what a full disk would refuse, for one process. */
function limitFileSize(pid: number, bytes: string): void {
  spawnSync('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:`], { stdio: 'ignore' })
}

async function redisStore({
  agents,
  history,
}: {
  readonly agents: number
  readonly history: History
}): Promise<TortureStore> {
  const server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
  const relays = await Promise.all(Array.from({ length: agents }, () => startRelay(server.port)))
  return {
    ledgerOf: (agent) => ({ type: 'redis', url: `redis://127.0.0.1:${relays[agent]?.port}` }),
    reconnectMs: 3_000,
    async strike({ kind, severity }, agent) {
      const relay = relays[agent]
      const outage = open(history, kind === 'redis_partition' || kind === 'redis_reset' ? agent : undefined)
      const ms = 100 + severity ** 2 * 9000
      if (kind === 'redis_restart') {
        await server.kill()
        await sleep(ms / 3)
        await server.start()
      } else if (kind === 'redis_hang') {
        server.pause()
        await sleep(ms)
        server.resume()
      } else if (kind === 'redis_partition') {
        relay?.hold()
        await sleep(ms)
        relay?.release()
      } else relay?.leadTo(server.port)
      outage.to = Date.now()
    },
    async agentPaused() {},
    async close() {
      await Promise.all(relays.map((relay) => relay.close()))
      await server.close()
    },
  }
}
