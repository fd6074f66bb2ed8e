import { until } from '../support/until.ts'
import { ask, requestOf, startProbing, type Probe } from './clients.ts'
import type { Fleet } from './fleet.ts'

/** What happened while replicas were away. Times are milliseconds. */
export interface Faults {
  /** From the start of a killed replica to its first answer that was no refusal of the connection. */
  readonly restartRefusedMs: number
  /** With a partition: from the cut to the first 503 of the replica that fails closed; its limit is {@link staleMs}. */
  readonly failClosedMs?: number
  /** … and from the healing to the first 401 for what was ended meanwhile. */
  readonly healedMs?: number
  readonly violations: readonly string[]
}

/** Rules may be missed for this long, as configured for the measurement. */
const staleSeconds = 5
export const staleMs = staleSeconds * 1000
/** A heartbeat a second, and a busy machine. */
const marginMs = 2500

/** A replica that was killed and comes back must never serve what was ended meanwhile. */
export async function measureRestart(fleet: Fleet): Promise<Faults> {
  const violations: string[] = []
  const { cookie } = fleet.session('ended-meanwhile')
  const first = await fleet.start()
  if ((await ask(first.port, requestOf('/api/orders', cookie))).status !== 200)
    violations.push('a live session was refused')
  await first.kill()
  await fleet.end('ended-meanwhile')
  const startedAt = performance.now()
  const second = await fleet.start()
  const probing = startProbing(second.port, cookie)
  await until('it refuses', () => probing.probes.some(({ status }) => status === 401))
  const probes = await probing.stop()
  if (probes.some(({ status }) => status === 200)) violations.push('a restarted replica served an ended session')
  await second.kill()
  return { restartRefusedMs: (probes.find(({ status }) => status === 401)?.at ?? Infinity) - startedAt, violations }
}

/** Two replicas are cut off from Redis, one of each policy, while sessions are ended; then the network heals. */
export async function measurePartition(fleet: Fleet): Promise<Faults> {
  const violations: string[] = []
  const check = (isRight: boolean, what: string): void => void (isRight || violations.push(what))
  const connected = await fleet.start({ stale_rules_seconds: staleSeconds })
  const closing = await fleet.start({ stale_rules_seconds: staleSeconds })
  const serving = await fleet.start({ stale_rules_seconds: staleSeconds, on_stale_rules: 'serve_until_token_expiry' })
  const ended = fleet.session('ended-in-partition').cookie
  const live = fleet.session('still-live').cookie
  const replicas = [connected, closing, serving]
  const probing = replicas.map(({ port }) => startProbing(port, ended, 20))
  await until('all serve', () => probing.every(({ probes }) => probes.some(({ status }) => status === 200)))

  const cutAt = performance.now()
  for (const { relay } of [closing, serving]) relay?.hold()
  await fleet.end('ended-in-partition')
  await until('the connected one refuses', () => has(probing[0]?.probes, 401))
  await until('the cut-off one fails closed', () => has(probing[1]?.probes, 503), { timeoutMs: staleMs + 10_000 })
  const failClosedMs = (probing[1]?.probes.find(({ status }) => status === 503)?.at ?? Infinity) - cutAt
  check(failClosedMs <= staleMs + marginMs, `it failed closed after ${Math.round(failClosedMs)} ms`)
  const statusOf = async (port: number, cookie: string): Promise<number> =>
    (await ask(port, requestOf('/api/orders', cookie))).status
  check((await statusOf(closing.port, live)) === 503, 'a replica that fails closed served somebody')
  check((await statusOf(connected.port, live)) === 200, 'a connected replica refused a live session')
  check((await statusOf(serving.port, live)) === 200, 'serve_until_token_expiry refused a live session')

  const healedAt = performance.now()
  for (const { relay } of [closing, serving]) relay?.release()
  await until('all refuse', () => probing.every(({ probes }) => has(probes, 401)), { timeoutMs: 30_000 })
  await until('live sessions are served', async () => (await statusOf(closing.port, live)) === 200, {
    timeoutMs: 30_000,
  })
  const told = await Promise.all(probing.map((each) => each.stop()))
  const refusals = told.map((probes) => probes.find(({ status }) => status === 401)?.at ?? Infinity)
  told.forEach((probes, index) => {
    const from = refusals[index] ?? Infinity
    check(
      !probes.some(({ status, sentAt }) => status === 200 && sentAt > from),
      `replica ${index} served after it refused`,
    )
  })
  const closedAt = told[1]?.find(({ status }) => status === 503)?.at ?? Infinity
  check(
    !(told[1] ?? []).some(({ status, sentAt }) => status === 200 && sentAt > closedAt),
    'it served after it failed closed',
  )
  for (const replica of replicas) await replica.kill()
  return {
    restartRefusedMs: 0,
    failClosedMs,
    healedMs: Math.max(...refusals.slice(1).map((at) => at - healedAt)),
    violations,
  }
}

function has(probes: readonly Probe[] | undefined, wanted: number): boolean {
  return probes?.some(({ status }) => status === wanted) === true
}
