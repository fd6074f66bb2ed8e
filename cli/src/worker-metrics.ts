import { once } from 'node:events'
import type { Worker } from 'node:cluster'
import { exposeGauge, mergeSnapshots, Registry, type MetricsSnapshot } from '@token-handler/shared'
import { figuresOf, type FiguresByProcess } from './operations/figures.ts'
import { exposeProcess } from './process-metrics.ts'

/** Who scrapes waits for a worker that hangs no longer than this. */
const longestWaitMs = 1_000

export interface PoolMetrics {
  /** Metrics of all workers, in the text format of Prometheus. */
  metrics(): Promise<string>
  /** What each worker counted, by its place. */
  figures(): Promise<FiguresByProcess>
}

/**
 * Metrics of all workers and of this process, their primary. Every series has the label `worker`: the place of the worker,
 * from 1, which its successor takes over, or `primary`.
 * @param workers By their places; `undefined` where none serves.
 */
export function createPoolMetrics(workers: () => readonly (Worker | undefined)[]): PoolMetrics {
  const registry = new Registry()
  exposeProcess(registry)
  const answered = new Set<number>()
  exposeGauge(registry, {
    name: 'token_handler_worker_up',
    help: 'Whether a worker told its metrics for this scrape.',
    labelNames: ['worker'],
    read: () => workers().map((_, index) => [{ worker: String(index + 1) }, answered.has(index) ? 1 : 0] as const),
  })

  /** @param what The order, and the event with which the answer comes in. */
  async function ask(worker: Worker | undefined, what: 'metrics' | 'figures'): Promise<MetricsSnapshot | undefined> {
    if (worker?.isConnected() !== true) return undefined
    try {
      const told = once(worker, what, { signal: AbortSignal.timeout(longestWaitMs) })
      worker.send(what)
      const [snapshot] = (await told) as [MetricsSnapshot]
      return snapshot
    } catch {
      return undefined
    }
  }

  return {
    async metrics() {
      const all = await Promise.all(workers().map((worker) => ask(worker, 'metrics')))
      const snapshots = new Map<string, MetricsSnapshot>()
      answered.clear()
      for (const [index, snapshot] of all.entries()) {
        if (snapshot === undefined) continue
        answered.add(index)
        snapshots.set(String(index + 1), snapshot)
      }
      snapshots.set('primary', await registry.getMetricsAsJSON())
      return mergeSnapshots(snapshots)
    },

    async figures() {
      const all = await Promise.all(workers().map((worker) => ask(worker, 'figures')))
      return new Map(
        all.flatMap((snapshot, index) =>
          snapshot === undefined ? [] : [[String(index + 1), figuresOf(snapshot)] as const],
        ),
      )
    },
  }
}
