import cluster from 'node:cluster'
import type { Logger, MetricsSnapshot } from '@token-handler/shared'
import type { Readiness } from './admin.ts'
import { readFigureMetrics } from './operations/figures.ts'
import type { RunningTokenHandler } from './token-handler.ts'

/** What the primary tells a worker. */
export type Order = 'reload' | 'stop' | 'metrics' | 'figures'

/** What a worker tells the primary. */
export type Report =
  | { readonly report: 'started'; readonly address: string }
  | { readonly report: 'readiness'; readonly readiness: Readiness }
  | { readonly report: 'metrics'; readonly metrics: MetricsSnapshot }
  | { readonly report: 'figures'; readonly metrics: MetricsSnapshot }

/** So often a worker tells how it is. */
const reportMs = 250

/** Whether this process is a worker of another one. */
export function isWorker(): boolean {
  return cluster.isWorker
}

/** Marks the lines of a worker's log. */
export function workerLogger(logger: Logger): Logger {
  const worker = cluster.worker?.id
  return {
    debug: (fields, message) => logger.debug({ worker, ...fields }, message),
    info: (fields, message) => logger.info({ worker, ...fields }, message),
    warn: (fields, message) => logger.warn({ worker, ...fields }, message),
    error: (fields, message) => logger.error({ worker, ...fields }, message),
  }
}

/** Calls `obey` for the orders of the primary, those that came before this call included. */
export function obeyPrimary(obey: (order: Order) => void): void {
  process.on('message', obey)
}

/** Tells the primary that this worker serves, and from now on how it is. */
export function reportToPrimary(running: RunningTokenHandler, address: string): void {
  const report = (): void => tell({ report: 'readiness', readiness: running.readiness() })
  report()
  tell({ report: 'started', address })
  setInterval(report, reportMs).unref()
}

/** Tells the primary what this worker counted. */
export async function reportMetrics({ registry }: RunningTokenHandler): Promise<void> {
  tell({ report: 'metrics', metrics: await registry.getMetricsAsJSON() })
}

/** Tells the primary the few metrics that the operations page shows. */
export async function reportFigures({ registry }: RunningTokenHandler): Promise<void> {
  tell({ report: 'figures', metrics: await readFigureMetrics(registry) })
}

/** Lets a worker end that has nothing left to do. */
export function leavePrimary(): void {
  if (process.connected) process.disconnect?.()
}

/** A primary that is gone takes its workers with it. */
function tell(report: Report): void {
  if (process.send !== undefined && process.connected) process.send(report)
}
