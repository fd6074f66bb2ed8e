import { staleMs, type Faults } from './measure-faults.ts'
import type { Cost } from './measure-cost.ts'
import type { Reach } from './measure-reach.ts'
import type { KillswitchOptions, StoreKind } from './options.ts'

/** What a run found out. */
export interface Report {
  readonly options: KillswitchOptions
  readonly reach: ReadonlyMap<StoreKind, Reach>
  readonly restart: ReadonlyMap<StoreKind, Faults>
  readonly partition: Faults | undefined
  readonly cost: readonly Cost[]
}

/** Goals of the bounds that docs/sessions.md publishes. */
const longestMs = 1000
const mostCpuRatio = 1.05

/** Everything that was not as promised. */
export function failuresOf({ reach, restart, partition, cost, options }: Report): string[] {
  const failures = [...reach.values(), ...restart.values(), ...(partition === undefined ? [] : [partition])].flatMap(
    ({ violations }) => violations,
  )
  // How long it takes to close thousands of streams at once is the processor's business, and only told.
  for (const [store, { streamsMs, requestsMs }] of reach) {
    const worst = Math.max(percentile(streamsMs, 99), percentile(requestsMs, 99))
    if (worst > longestMs) failures.push(`${store}: an end took ${Math.round(worst)} ms to reach everything`)
  }
  const ratio = cpuRatio(cost)
  // Too short a run says nothing.
  if (options.rounds > 1 && ratio !== undefined && ratio > mostCpuRatio) {
    failures.push(`a request costs ${ratio.toFixed(2)} times as much with ${cost.at(-1)?.held} rules`)
  }
  return failures
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
}

function cpuRatio(cost: readonly Cost[]): number | undefined {
  return cost.length > 1 ? cost.at(-1)?.cpuRatio.median : undefined
}

function bytesOfRule(cost: readonly Cost[]): number | undefined {
  const [first, last] = [cost[0], cost.at(-1)]
  if (first === undefined || last === undefined || last.held === 0) return undefined
  return ((last.residentMegabytes - first.residentMegabytes) * 1e6) / last.held
}

/** The figures by name, for who keeps them. */
export function jsonReport(report: Report): Readonly<Record<string, unknown>> {
  const figures: Record<string, number | boolean | readonly string[]> = {}
  for (const [store, { streamsMs, requestsMs, acceptMs, everybodyMs, streams }] of report.reach) {
    for (const [name, values] of Object.entries({ streams: streamsMs, requests: requestsMs, accept: acceptMs })) {
      for (const percent of [50, 99]) figures[`${store}_${name}_p${percent}_ms`] = round(percentile(values, percent))
    }
    figures[`${store}_everybody_ms`] = round(everybodyMs)
    figures[`${store}_streams`] = streams
  }
  for (const [store, { restartRefusedMs }] of report.restart)
    figures[`${store}_restart_refused_ms`] = round(restartRefusedMs)
  if (report.partition !== undefined) {
    figures['partition_fail_closed_ms'] = round(report.partition.failClosedMs ?? 0)
    figures['partition_healed_ms'] = round(report.partition.healedMs ?? 0)
  }
  for (const { held, cpuMicroseconds, cpuRatio: ratio, residentMegabytes } of report.cost) {
    figures[`cpu_ratio_${held}_rules`] = Math.round(ratio.median * 1000) / 1000
    figures[`cpu_us_${held}_rules`] = round(cpuMicroseconds.median)
    figures[`rss_mb_${held}_rules`] = round(residentMegabytes)
  }
  const bytes = bytesOfRule(report.cost)
  if (bytes !== undefined) figures['bytes_a_rule'] = Math.round(bytes)
  return { ...figures, failures: failuresOf(report) }
}

export function textReport(report: Report): string {
  const { replicas, streams, rules } = report.options
  const lines: string[] = [`${replicas} replicas, ${streams} open streams each, ${rules} rules`]
  for (const [store, reach] of report.reach) {
    const line = (what: string, values: readonly number[]): string =>
      `  ${what.padEnd(46)} ${ms(percentile(values, 50))} p50 ${ms(percentile(values, 99))} p99 ${ms(Math.max(...values))} max`
    lines.push(
      `${store}, since the rule was accepted`,
      line('last stream of the ended sessions closed', reach.streamsMs),
      line('refused by every replica', reach.requestsMs),
      line('(from the call to its acceptance)', reach.acceptMs),
      `  ${`everybody ended: last of ${reach.streams} streams closed`.padEnd(46)} ${ms(reach.everybodyMs)}`,
    )
    const restart = report.restart.get(store)
    if (restart !== undefined)
      lines.push(`  ${'killed replica started again, and refused'.padEnd(46)} ${ms(restart.restartRefusedMs)}`)
  }
  if (report.partition !== undefined) {
    const { failClosedMs = 0, healedMs = 0 } = report.partition
    lines.push(
      'replicas cut off from Redis',
      `  ${`fails closed (configured: ${staleMs} ms)`.padEnd(46)} ${ms(failClosedMs)}`,
      `  ${'healed: refuses what was ended meanwhile'.padEnd(46)} ${ms(healedMs)}`,
    )
  }
  if (report.cost.length > 0) lines.push('one request, CPU of a replica; its memory')
  for (const { held, cpuMicroseconds: cpu, cpuRatio: ratio, residentMegabytes } of report.cost) {
    const spread = `${ratio.lowerQuartile.toFixed(3)} to ${ratio.upperQuartile.toFixed(3)}`
    lines.push(
      `  ${`${held} rules`.padEnd(20)} ${cpu.median.toFixed(1)} µs, × ${ratio.median.toFixed(3)} (${spread})  ${residentMegabytes.toFixed(0)} MB`,
    )
  }
  const bytes = bytesOfRule(report.cost)
  if (bytes !== undefined) lines.push(`  ${bytes.toFixed(0)} bytes a rule`)
  const failures = failuresOf(report)
  lines.push(
    failures.length === 0 ? 'everything as promised' : failures.map((failure) => `FAILED: ${failure}`).join('\n'),
  )
  return `${lines.join('\n')}\n`
}

function ms(value: number): string {
  return `${value.toFixed(1).padStart(8)} ms`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
