import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import type { Config, Logger } from '@token-handler/shared'
import type { Readiness } from './admin.ts'
import { UsageError } from './usage.ts'
import { createPoolMetrics, type PoolMetrics } from './worker-metrics.ts'
import type { Order, Report } from './worker.ts'

/**
 * Several processes behind one listener (`node:cluster`). The primary serves no requests: it replaces workers that die,
 * passes orders on, and knows how all of them are.
 */
export interface WorkerPool extends PoolMetrics {
  /** Where the workers listen. */
  readonly address: string
  readiness(): Readiness
  /** Has every worker read the key file again. */
  reload(): void
  /** Has every worker finish what it does, and waits for all of them. */
  close(): Promise<void>
}

/** The first worker ended before it served; it said why. */
export class WorkerStartError extends Error {
  override readonly name = 'WorkerStartError'
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`a worker ended with exit code ${exitCode} before it served`)
    this.exitCode = exitCode
  }
}

/** One place for a worker, and who takes it now. */
interface Place {
  worker: Worker | undefined
  forkedAt: number
  hasStarted: boolean
  readiness: Readiness | undefined
  reportedAt: number
  /** Workers in a row that did not live long. */
  failures: number
  refill: NodeJS.Timeout | undefined
}

interface WorkerEnd {
  readonly code: number | null
  readonly signal: string | null
}

const mostWorkers = 256
/** A worker that is silent for longer hangs. */
const longestSilenceMs = 2_000
/** A worker that lived for less time is replaced after a pause only, which grows with every one. */
const youngMs = 10_000
const firstPauseMs = 200
const longestPauseMs = 10_000

/**
 * @param text `auto`, which is one for each processor that this process may use, or a number.
 * @throws UsageError
 */
export function parseWorkers(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (text === 'auto') return availableParallelism()
  const count = Number(text)
  if (!/^\d{1,3}$/.test(text) || count < 1 || count > mostWorkers) {
    throw new UsageError(`--workers takes auto or a number from 1 to ${mostWorkers}`)
  }
  return count
}

/** @throws UsageError where processes would not know of each other's sessions. */
export function checkSharedLedger({ ledger: { type } }: Config): void {
  if (type === 'sqlite' || type === 'redis') return
  throw new UsageError(`--workers needs a ledger that processes share: ledger.type is ${type}, not sqlite or redis`)
}

/**
 * Starts workers that run the same command line as this process. The first one goes ahead alone, so that what keeps
 * workers from starting is said once.
 * @returns When the first one serves.
 * @throws WorkerStartError
 */
export async function startWorkers(count: number, logger: Logger): Promise<WorkerPool> {
  const places: Place[] = []
  let isStopping = false

  /** @param ended Called if this worker ends, unless it was told to. */
  function fill(place: Place, ended: (end: WorkerEnd) => void): void {
    const worker = cluster.fork()
    Object.assign(place, { worker, forkedAt: performance.now(), hasStarted: false, readiness: undefined })
    worker.on('message', (report: Report) => {
      if (report.report === 'readiness') {
        Object.assign(place, { readiness: report.readiness, reportedAt: performance.now() })
        return
      }
      if (report.report === 'metrics' || report.report === 'figures') {
        worker.emit(report.report, report.metrics)
        return
      }
      place.hasStarted = true
      logger.info({ event: 'worker_started', worker: worker.id, pid: worker.process.pid }, 'A worker serves.')
      worker.emit('serving', report.address)
    })
    worker.once('exit', (code: number | null, signal: string | null) => {
      place.hasStarted = false
      if (!isStopping) ended({ code, signal })
    })
  }

  function replace(place: Place, end: WorkerEnd): void {
    place.failures = performance.now() - place.forkedAt < youngMs ? place.failures + 1 : 0
    const pauseMs = place.failures === 0 ? 0 : Math.min(longestPauseMs, firstPauseMs * 2 ** (place.failures - 1))
    const fields = { event: 'worker_died', worker: place.worker?.id, ...end, pauseMs }
    logger.error(fields, 'A worker died; another one takes its place.')
    place.refill = setTimeout(() => fill(place, (next) => replace(place, next)), pauseMs)
  }

  function order(what: Order): void {
    for (const { worker } of places) if (worker?.isConnected() === true) worker.send(what)
  }

  for (let left = count; left > 0; left--) places.push(emptyPlace())
  const [first, ...others] = places as [Place, ...Place[]]
  const address = await new Promise<string>((resolve, reject) => {
    let hasServed = false
    fill(first, (end) => {
      if (hasServed) replace(first, end)
      else reject(new WorkerStartError(end.code ?? 1))
    })
    first.worker?.once('serving', (at: string) => {
      hasServed = true
      resolve(at)
    })
  })
  for (const place of others) fill(place, (end) => replace(place, end))

  return {
    address,
    readiness: () => aggregate(places, isStopping),
    ...createPoolMetrics(() => places.map(({ worker, hasStarted }) => (hasStarted ? worker : undefined))),
    reload: () => order('reload'),
    async close() {
      isStopping = true
      for (const { refill } of places) clearTimeout(refill)
      const alive = places.flatMap(({ worker }) => (worker === undefined || worker.isDead() ? [] : [worker]))
      const exits = alive.map((worker) => once(worker, 'exit'))
      order('stop')
      await Promise.all(exits)
    },
  }
}

function emptyPlace(): Place {
  return {
    worker: undefined,
    forkedAt: 0,
    hasStarted: false,
    readiness: undefined,
    reportedAt: 0,
    failures: 0,
    refill: undefined,
  }
}

/** A worker that does not serve yet gets no connections, and so counts for nothing; one that hangs gets its share. */
function aggregate(places: readonly Place[], isStopping: boolean): Readiness {
  const now = performance.now()
  const serving = places.filter(({ hasStarted }) => hasStarted)
  const isWell = ({ readiness, reportedAt }: Place): boolean =>
    readiness?.ready === true && now - reportedAt < longestSilenceMs
  const parts: Record<string, string> = {}
  // What is wrong with one of them covers what is right with the others.
  for (const place of serving.toSorted((a, b) => Number(isWell(b)) - Number(isWell(a)))) {
    Object.assign(parts, place.readiness?.parts)
  }
  const well = serving.filter(isWell).length
  return {
    ready: !isStopping && well > 0 && well === serving.length,
    parts: { ...parts, workers: `${well} of ${places.length}` },
  }
}
