import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { exposeCounter, exposeGauge, type Registry } from '@token-handler/shared'
import { packageVersion } from './version.ts'

const nanoseconds = 1e-9
const microseconds = 1e-6
/** How exactly the delay of the event loop is measured; each look costs about a microsecond. */
const delayResolutionMs = 20

/**
 * What Prometheus' client libraries say of every process, under their names, and what was built. Not the library's own
 * collection: that one watches every garbage collection, and cannot be stopped.
 * @returns Stops measuring.
 */
export function exposeProcess(registry: Registry): () => void {
  const single = (value: number) => [[{}, value]] as const
  exposeGauge(registry, {
    name: 'token_handler_build_info',
    help: 'Always 1; the labels tell the version of the Token Handler and of Node.js.',
    labelNames: ['version', 'node'],
    read: () => [[{ version: packageVersion, node: process.versions.node }, 1]],
  })
  exposeCounter(registry, {
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time.',
    read() {
      const { user, system } = process.cpuUsage()
      return single((user + system) * microseconds)
    },
  })
  exposeGauge(registry, {
    name: 'process_start_time_seconds',
    help: 'Start of the process since the epoch.',
    read: () => single(performance.timeOrigin / 1000),
  })
  exposeGauge(registry, {
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    read: () => single(process.memoryUsage.rss()),
  })
  exposeGauge(registry, {
    name: 'process_open_fds',
    help: 'Open file descriptors; only on Linux.',
    read: () => openDescriptors().map((count) => [{}, count]),
  })
  exposeGauge(registry, {
    name: 'nodejs_heap_size_used_bytes',
    help: 'Used part of the JavaScript heap.',
    read: () => single(process.memoryUsage().heapUsed),
  })
  let before = performance.eventLoopUtilization()
  exposeGauge(registry, {
    name: 'nodejs_eventloop_utilization_ratio',
    help: 'Part of the time since the scrape before in which the event loop was busy.',
    read() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return single(utilization)
    },
  })
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  delay.enable()
  exposeGauge(registry, {
    name: 'nodejs_eventloop_lag_p99_seconds',
    help: 'The 99th percentile of the delay of the event loop since the scrape before.',
    read() {
      // Before the first look there is none.
      const lag = delay.count === 0 ? 0 : delay.percentile(99) * nanoseconds - delayResolutionMs / 1000
      delay.reset()
      return single(Math.max(0, lag))
    },
  })
  return () => delay.disable()
}

function openDescriptors(): number[] {
  try {
    // One of them is the folder that is read.
    return [readdirSync('/proc/self/fd').length - 1]
  } catch {
    return []
  }
}
