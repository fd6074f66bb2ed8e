import { cpus, release, totalmem } from 'node:os'
import { targets, type Key } from './figures.ts'
import type { CellRounds } from './measure-cpu.ts'
import type { BenchOptions } from './options.ts'
import { isPlacing } from './placement.ts'
import { spreadOf, type Spread } from './statistics.ts'

export interface Report {
  readonly figures: ReadonlyMap<Key, Spread>
  readonly cells: ReadonlyMap<string, CellRounds>
  /** Figures that need programs which are not installed, and which. */
  readonly absent: readonly { readonly key: Key; readonly program: string }[]
  /** Rate of the latency rounds, where they were run. */
  readonly pacedRequestsPerSecond: number | undefined
}

/** An identical contender may not seem this much dearer or cheaper, else the machine was too busy to measure on. */
const calmWithin = 0.03

const units: Partial<Record<Key, string>> = {
  auth_cpu_us: 'µs',
  auth_cpu_us_3500: 'µs',
  forward_auth_cpu_us: 'µs',
  stream_rss_growth_mb: 'MB',
  idle_stream_kb: 'kB',
  p99_added_ms: 'ms',
  rss_mb: 'MB',
  refresh_storm_p99_ms: 'ms',
  refresh_storm_p99_ms_redis: 'ms',
}

/** One object: medians by key, and beside them how they came about. */
export function jsonReport({ figures, cells, absent, pacedRequestsPerSecond }: Report, options: BenchOptions): string {
  return JSON.stringify({
    ...Object.fromEntries([...figures].map(([key, { median }]) => [key, rounded(median)])),
    absent: absent.map(({ key, program }) => `${key}: ${program} is not installed`),
    quartiles: Object.fromEntries(
      [...figures].map(([key, { lowerQuartile, upperQuartile }]) => [key, [lowerQuartile, upperQuartile].map(rounded)]),
    ),
    cpu_us: Object.fromEntries(
      [...cells].map(([name, { cpuMicroseconds }]) => [name, rounded(spreadOf(cpuMicroseconds).median)]),
    ),
    requests_per_second: Object.fromEntries(
      [...cells].map(([name, { requestsPerSecond }]) => [name, Math.round(spreadOf(requestsPerSecond).median)]),
    ),
    ...(pacedRequestsPerSecond === undefined ? {} : { paced_requests_per_second: Math.round(pacedRequestsPerSecond) }),
    rounds: options.rounds,
    starts: options.starts,
    seconds: options.seconds,
    connections: options.connections,
    quick: options.isQuick,
    cpu_of_its_own: isPlacing,
    machine: machine(),
  })
}

export function textReport({ figures, cells, absent, pacedRequestsPerSecond }: Report, options: BenchOptions): string {
  const lines = [
    table(
      ['CPU a request', 'median µs', 'middle half', 'requests/s'],
      [...cells].map(([name, { cpuMicroseconds, requestsPerSecond }]) => {
        const cpu = spreadOf(cpuMicroseconds)
        return [name, cpu.median.toFixed(1), middleHalf(cpu, 1), spreadOf(requestsPerSecond).median.toFixed(0)]
      }),
    ),
    table(
      ['figure', 'median', 'middle half', 'must', 'aim', ''],
      [...figures].map(([key, spread]) => figureRow(key, spread)),
    ),
    ...absent.map(({ key, program }) => `${key}: absent, for ${program} is not installed`),
    ...(pacedRequestsPerSecond === undefined
      ? []
      : [`latency at ${Math.round(pacedRequestsPerSecond)} requests/s, half of what the OAuth Proxy serves here`]),
    `${options.rounds} rounds of ${options.seconds} s, ${options.starts} starts, ${options.connections} connections; ${machine()}`,
    ...(isPlacing ? [] : ['Contenders shared their CPU with the load: that takes two CPUs and taskset to avoid.']),
    ...(options.isQuick ? ['A smoke run: its figures mean nothing.'] : []),
    ...(isCalm(figures) ? [] : ['The machine was not calm: see a_a_control. Do not quote this run.']),
  ]
  return `${lines.join('\n')}\n`
}

function figureRow(key: Key, spread: Spread): string[] {
  const unit = units[key]
  const digits = unit === undefined || unit === 'ms' ? 3 : 1
  const target = targets[key]
  return [
    unit === undefined ? key : `${key} (${unit})`,
    spread.median.toFixed(digits),
    middleHalf(spread, digits),
    ...(target === undefined ? ['', '', ''] : [`≤ ${target.must}`, `≤ ${target.aim}`, verdict(spread.median, target)]),
  ]
}

function verdict(value: number, { must, aim }: { must: number; aim: number }): string {
  return value <= aim ? 'aim reached' : value <= must ? 'holds' : 'MISSED'
}

function isCalm(figures: Report['figures']): boolean {
  const control = figures.get('a_a_control')
  return control === undefined || Math.abs(control.median - 1) <= calmWithin
}

function middleHalf({ lowerQuartile, upperQuartile }: Spread, digits: number): string {
  return `${lowerQuartile.toFixed(digits)} – ${upperQuartile.toFixed(digits)}`
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('   ')
  return `${[head, ...rows].map(line).join('\n')}\n`
}

function machine(): string {
  const cores = cpus()
  const memory = Math.round(totalmem() / 1e9)
  return `${cores.length} × ${cores[0]?.model.trim() ?? 'CPU'}, ${memory} GB, Linux ${release()}, Node ${process.versions.node}`
}

function rounded(value: number): number {
  return Number(value.toPrecision(5))
}
