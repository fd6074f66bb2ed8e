import { until } from '../support/until.ts'
import { openEventStream, openWebSocket, startProbing, type OpenStream } from './clients.ts'
import type { Fleet, Replica } from './fleet.ts'
import type { KillswitchOptions } from './options.ts'

/** How fast ends of sessions reach everything, in milliseconds since they were accepted; never below 0. */
export interface Reach {
  /** Until the last stream of the ended sessions was closed, one figure a rule. */
  readonly streamsMs: readonly number[]
  /** Until every replica refused the sessions. */
  readonly requestsMs: readonly number[]
  /** From the call to its acceptance. */
  readonly acceptMs: readonly number[]
  /** Until the last of all streams of all replicas was closed, after everybody's sessions were ended. */
  readonly everybodyMs: number
  readonly streams: number
  readonly violations: readonly string[]
}

/** Opened at once, at most; more only wait for each other. */
const openedAtOnce = 50

export async function measureReach(
  fleet: Fleet,
  { replicas: count, streams, rules }: KillswitchOptions,
): Promise<Reach> {
  const replicas: Replica[] = []
  for (let started = 0; started < count; started++) replicas.push(await fleet.start())
  const violations: string[] = []
  const subjects = Array.from({ length: rules }, (_, rule) => `subject-${rule}`)
  const groups = subjects.map(() => [] as Promise<number>[])
  await openAll(replicas, streams, async (port, index) => {
    const group = index % rules
    const { closedAt } = await openStream(Math.floor(index / rules), port, fleet.session(subjects[group] ?? '').cookie)
    groups[group]?.push(closedAt)
  })
  const [streamsMs, requestsMs, acceptMs] = [[], [], []] as number[][]
  for (const [index, subject] of subjects.entries()) {
    const { cookie } = fleet.session(subject)
    const probing = replicas.map(({ port }) => startProbing(port, cookie))
    await until('all replicas serve it', () =>
      probing.every(({ probes }) => probes.some(({ status }) => status === 200)),
    )
    const { askedAt, acceptedAt } = await fleet.end(subject)
    const closed = await Promise.all(groups[index] ?? [])
    await until('all replicas refuse it', () =>
      probing.every(({ probes }) => probes.some(({ status }) => status === 401)),
    )
    const told = await Promise.all(probing.map((each) => each.stop()))
    const refused = told.map((probes) => probes.find(({ status }) => status === 401)?.at ?? Infinity)
    told.forEach((probes, replica) => {
      const from = refused[replica] ?? Infinity
      if (probes.some(({ status, sentAt }) => status === 200 && sentAt > from)) {
        violations.push(`replica ${replica} served a session after it had refused it`)
      }
    })
    acceptMs?.push(acceptedAt - askedAt)
    streamsMs?.push(Math.max(0, ...closed.map((at) => at - acceptedAt)))
    requestsMs?.push(Math.max(0, ...refused.map((at) => at - acceptedAt)))
  }
  const all: Promise<number>[] = []
  await openAll(replicas, streams, async (port, index) => {
    all.push((await openStream(index, port, fleet.session('everybody').cookie)).closedAt)
  })
  const { acceptedAt } = await fleet.end('all')
  const everybodyMs = Math.max(0, ...(await Promise.all(all)).map((at) => at - acceptedAt))
  for (const replica of replicas) await replica.kill()
  return {
    streamsMs: streamsMs ?? [],
    requestsMs: requestsMs ?? [],
    acceptMs: acceptMs ?? [],
    everybodyMs,
    streams: all.length,
    violations,
  }
}

/** Every other one is a WebSocket. */
function openStream(index: number, port: number, cookie: string): Promise<OpenStream> {
  return index % 2 === 0 ? openEventStream(port, cookie) : openWebSocket(port, cookie)
}

async function openAll(
  replicas: readonly Replica[],
  streams: number,
  open: (port: number, index: number) => Promise<void>,
): Promise<void> {
  for (const { port } of replicas) {
    for (let opened = 0; opened < streams; opened += openedAtOnce) {
      const indices = Array.from({ length: Math.min(openedAtOnce, streams - opened) }, (_, index) => opened + index)
      await Promise.all(indices.map((index) => open(port, index)))
    }
  }
}
