import { once } from 'node:events'
import type { Worker } from 'node:cluster'
import { exposeGauge, mergeSnapshots, Registry, type MetricsSnapshot } from '@token-handler/shared'
import { exposeProcess } from './process-metrics.ts'

/** Who scrapes waits for a worker that hangs no longer than this. */
const longestWaitMs = 1_000

/** The event with which a worker's metrics come in. */
export const metricsEvent = 'metrics'

/**
 * Metrics of all workers and of this process, their primary. Every series has the label `worker`: the place of the worker,
 * from 1, which its successor takes over, or `primary`.
 * @param workers By their places; `undefined` where none serves.
 */
export function createPoolMetrics(workers: () => readonly (Worker | undefined)[]): () => Promise<string> {
  const registry = new Registry()
  exposeProcess(registry)
  const answered = new Set<number>()
  exposeGauge(registry, {
    name: 'token_handler_worker_up',
    help: 'Whether a worker told its metrics for this scrape.',
    labelNames: ['worker'],
    read: () => workers().map((_, index) => [{ worker: String(index + 1) }, answered.has(index) ? 1 : 0] as const),
  })

  async function ask(worker: Worker | undefined): Promise<MetricsSnapshot | undefined> {
    if (worker?.isConnected() !== true) return undefined
    try {
      const told = once(worker, metricsEvent, { signal: AbortSignal.timeout(longestWaitMs) })
      worker.send(metricsEvent)
      const [snapshot] = (await told) as [MetricsSnapshot]
      return snapshot
    } catch {
      return undefined
    }
  }

  return async () => {
    const all = await Promise.all(workers().map((worker) => ask(worker)))
    const snapshots = new Map<string, MetricsSnapshot>()
    answered.clear()
    for (const [index, snapshot] of all.entries()) {
      if (snapshot === undefined) continue
      answered.add(index)
      snapshots.set(String(index + 1), snapshot)
    }
    snapshots.set('primary', await registry.getMetricsAsJSON())
    return mergeSnapshots(snapshots)
  }
}
