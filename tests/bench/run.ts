/** `npm run bench`: what the OAuth Proxy costs, against others that do less, the same, or more. See docs/performance.md. */
import { Bench } from './bench.ts'
import { cellOf, contenderOf, cpuFigures, type CellName, type CpuFigure, type Key } from './figures.ts'
import { growthReport } from './growth.ts'
import { measureCells, type CellRounds } from './measure-cpu.ts'
import { measureIdleStream } from './measure-idle-streams.ts'
import { measureAddedLatency } from './measure-latency.ts'
import { measureRefreshStorm } from './measure-refresh-storm.ts'
import { measureStreamGrowth } from './measure-stream.ts'
import { parseOptions, usage, type BenchOptions } from './options.ts'
import { findProgram } from './programs.ts'
import { jsonReport, textReport, type Report } from './report.ts'
import { spreadOf, type Spread } from './statistics.ts'

function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

async function measure(bench: Bench): Promise<Report> {
  const { only } = bench.options
  const wanted = cpuFigures.filter(({ key }) => only.includes(key))
  const names = new Set<CellName>(wanted.flatMap(({ cells }) => cells))
  if (only.includes('rss_mb')) names.add('oauth_proxy/others')
  const cells = await measureCells(
    bench,
    [...names].map((name) => cellOf(name, bench.options)),
    note,
  )
  const figures = new Map<Key, Spread>()
  const absent: Report['absent'][number][] = []
  for (const figure of wanted) {
    const missing = figure.cells.find((name) => !cells.has(name))
    if (missing !== undefined) absent.push({ key: figure.key, program: contenderOf(missing) })
    else figures.set(figure.key, spreadOf(byRound(figure, cells)))
  }
  const latency = only.includes('p99_added_ms') ? await measureAddedLatency(bench, note) : undefined
  if (only.includes('stream_rss_growth_mb')) {
    note('streaming 4 GB each way')
    const [down, up] = [await measureStreamGrowth(bench, 'download'), await measureStreamGrowth(bench, 'upload')]
    figures.set('stream_rss_growth_mb', worseOf(down, up))
  }
  if (only.includes('idle_stream_kb')) {
    note('idle streams')
    const [events, webSocket] = [
      await measureIdleStream(bench, 'event_stream'),
      await measureIdleStream(bench, 'web_socket'),
    ]
    figures.set('idle_stream_kb', worseOf(events, webSocket))
  }
  await measureStorms(bench, { figures, absent })
  if (latency !== undefined) figures.set('p99_added_ms', spreadOf(latency.p99Ms))
  const memory = cells.get('oauth_proxy/others')?.residentMegabytes
  if (only.includes('rss_mb') && memory !== undefined) figures.set('rss_mb', spreadOf(memory))
  return { figures, cells, absent, pacedRequestsPerSecond: latency?.requestsPerSecond }
}

/** The worse of the two is the figure; the spread shows both. */
function worseOf(one: number, other: number): Spread {
  const worse = Math.max(one, other)
  return { median: worse, lowerQuartile: Math.min(one, other), upperQuartile: worse }
}

/** One call to the authorization server with either store, and how long everybody else waited for it. */
async function measureStorms(
  bench: Bench,
  { figures, absent }: { readonly figures: Map<Key, Spread>; readonly absent: Report['absent'][number][] },
): Promise<void> {
  const { only } = bench.options
  const calls: number[] = []
  for (const [store, key] of stormKeys) {
    if (!only.includes(key) && !only.includes('refresh_storm_calls')) continue
    if (store === 'redis' && findProgram('redis-server') === undefined) {
      absent.push({ key, program: 'redis-server' })
      continue
    }
    note(`refresh storm, ${store}`)
    const storm = await measureRefreshStorm(bench, store)
    calls.push(...storm.authorizationServerCalls)
    if (only.includes(key)) figures.set(key, spreadOf(storm.p99Ms))
  }
  if (!only.includes('refresh_storm_calls')) return
  // Not the median: one storm with two calls is one too many.
  const most = Math.max(...calls)
  figures.set('refresh_storm_calls', { median: most, lowerQuartile: Math.min(...calls), upperQuartile: most })
}

const stormKeys = [
  ['sqlite', 'refresh_storm_p99_ms'],
  ['redis', 'refresh_storm_p99_ms_redis'],
] as const

/** A ratio or difference within each round, so that what slowed a whole round down cancels out. */
function byRound(
  { cells: names, measure: what = 'cpuMicroseconds', of }: CpuFigure,
  cells: ReadonlyMap<string, CellRounds>,
): number[] {
  const [first, second] = names.map((name) => cells.get(name)?.[what] ?? [])
  return (first ?? []).map((value, round) => of(value, second?.[round] ?? NaN))
}

async function run(options: BenchOptions): Promise<void> {
  const bench = await Bench.start(options)
  try {
    if (options.showsGrowth) {
      process.stdout.write(await growthReport(bench, note))
      return
    }
    const report = await measure(bench)
    process.stdout.write(options.asJson ? `${jsonReport(report, options)}\n` : textReport(report, options))
  } finally {
    await bench.stop()
  }
}

let options: BenchOptions | undefined
try {
  options = parseOptions(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
  process.exitCode = 2
}
if (options !== undefined) await run(options)
