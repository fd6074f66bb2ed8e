import type { ChildProcess } from 'node:child_process'
import {
  identityHash,
  openLedger,
  silentLogger,
  systemClock,
  checkConfig,
  type Ledger,
  type Rule,
  type RuleKey,
} from '@token-handler/shared'
import { stringify } from 'yaml'
import { workingFolder } from '../cli/command-line.ts'
import { configured } from '../shared/configuration.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { startRelay, type Relay } from '../support/relay.ts'
import { context, createSessionKit, type SessionKit, type TestSession } from '../support/session-cookies.ts'
import { until } from '../support/until.ts'
import type { StoreKind } from './options.ts'
import { startStreamingApi, type StreamingApi } from './streaming-api.ts'

export const publicOrigin = 'http://localhost:3000'

export interface Replica {
  readonly port: number
  readonly pid: number
  /** Between this replica and Redis. */
  readonly relay: Relay | undefined
  kill(): Promise<void>
}

/** Several `token-handler start --only proxy` over one ledger, and one more process on it: this one, which writes rules. */
export interface Fleet {
  /** Where configuration and databases are. */
  readonly folder: string
  readonly kit: SessionKit
  readonly api: StreamingApi
  readonly writer: Ledger
  /** @param ledger Members of the configuration's section that differ. */
  start(ledger?: Readonly<Record<string, unknown>>): Promise<Replica>
  /** A session of a subject, which is live for an hour. */
  session(subject: string): TestSession
  /** Ends the sessions of a subject, or of `all`. @returns When it was asked for and when it was accepted. */
  end(subject: string): Promise<{ readonly askedAt: number; readonly acceptedAt: number }>
  close(): Promise<void>
}

const longestSessionMs = 43_200_000

export async function startFleet(store: StoreKind): Promise<Fleet> {
  const folder = workingFolder()
  const kit = createSessionKit(systemClock)
  const api = await startStreamingApi()
  const redis: RedisServer | undefined = store === 'redis' ? await startRedis() : undefined
  const closing: { close(): unknown }[] = []
  folder.write('keys.json', JSON.stringify(kit.keyFile))
  const direct =
    redis === undefined
      ? { type: 'sqlite', file: 'ledger.db' }
      : { type: 'redis', url: redis.url, key_prefix: 'killswitch' }
  const configOf = (ledger: Readonly<Record<string, unknown>>): unknown =>
    configured({
      public_url: publicOrigin,
      listen: { port: 0 },
      shutdown_seconds: 0,
      authorization_server: {
        issuer: context.issuer,
        client_id: context.clientId,
        redirect_uri: `${publicOrigin}/callback`,
      },
      ledger: { ...direct, ...ledger },
      proxy: {
        routes: [
          { path: '/api/events', upstream: api.origin, idle_timeout_seconds: 3600 },
          { path: '/api/feed', upstream: api.origin, websocket: true, idle_timeout_seconds: 3600 },
          { path: '/api/orders', upstream: api.origin },
        ],
      },
    })
  const config = checkConfig(configOf({}), { only: 'proxy' })
  const writer = await openLedger(config, { clock: systemClock, logger: silentLogger, folder: folder.path })
  let started = 0

  return {
    folder: folder.path,
    kit,
    api,
    writer,
    async start(ledger = {}) {
      const relay = redis === undefined ? undefined : await startRelay(redis.port)
      if (relay !== undefined) closing.push(relay)
      const url = relay === undefined ? {} : { url: `redis://127.0.0.1:${relay.port}` }
      const name = `replica-${started++}.yaml`
      folder.write(name, stringify(configOf({ ...url, ...ledger })))
      const { process: child, ended } = folder.start(['start', '--only', 'proxy', '--config', name])
      const port = await portOf(child)
      return {
        port,
        pid: child.pid ?? 0,
        relay,
        async kill() {
          child.kill('SIGKILL')
          await ended
        },
      }
    },
    session: (subject) =>
      kit.session({ sub: identityHash(context.issuer, subject), exp: Math.floor(Date.now() / 1000) + 3600 }),
    async end(subject) {
      const key: RuleKey = subject === 'all' ? 'all' : `sub:${identityHash(context.issuer, subject)}`
      const askedAt = performance.now()
      const rule = (now: number): Rule => ({
        key,
        before: now + 1,
        reason: 'revoked',
        expiresAt: now + longestSessionMs,
      })
      const added = await writer.addRule(rule)
      if (added.state !== 'added') throw new Error('the rule was not accepted')
      return { askedAt, acceptedAt: performance.now() }
    },
    async close() {
      await folder.remove()
      await writer.close()
      for (const each of closing) await each.close()
      await redis?.close()
      await api.close()
    },
  }
}

/** Where the command says that it listens. */
async function portOf(child: ChildProcess): Promise<number> {
  let log = ''
  const read = (chunk: Buffer | string): void => void (log += String(chunk))
  child.stdout?.on('data', read)
  const started = (): RegExpExecArray | null => /"event":"started".*?"address":"[^"]*:(\d+)"/.exec(log)
  await until('a replica starts', () => started() !== null || child.exitCode !== null, { timeoutMs: 60_000 })
  const [, port] = started() ?? []
  child.stdout?.off('data', read)
  if (port === undefined) throw new Error(`a replica ended: ${log}`)
  return Number(port)
}
