import { cpuSeconds, residentMegabytes } from './accounting.ts'
import type { Bench } from './bench.ts'
import type { Contender, ContenderName } from './contenders/contender.ts'
import type { LoadLimits, LoadResult } from './load.ts'
import type { BenchOptions } from './options.ts'
import { shuffled } from './statistics.ts'
import type { Traffic } from './traffic.ts'
import { verifyContender } from './verify.ts'

/** One contender under one kind of traffic. */
export interface Cell {
  readonly name: string
  readonly contender: ContenderName
  /** Routes that the contender has. Cells with the same contender and routes share its process, and some contenders' all do. */
  readonly routes: number
  readonly traffic: Traffic
  readonly connections: number
}

/** What the rounds of one cell gave, in order: the same index is the same round in every cell. */
export interface CellRounds {
  readonly cpuMicroseconds: number[]
  readonly requestsPerSecond: number[]
  readonly residentMegabytes: number[]
}

/** Even a smoke run uses some of the operating system's ticks. */
const leastRequests = 1000
/**
 * Until V8 has compiled what it will: with fewer requests, compiling took a third of the CPU time that was measured. Native
 * programs take part in it for the sake of their memory.
 */
const warmUp: LoadLimits = { seconds: 2, minRequests: 150_000 }
/** For a contender that is warm from other traffic. */
const moreWarmUp: LoadLimits = { seconds: 1, minRequests: 30_000 }
/**
 * Pieces that a contender's load of a round comes in, between those of the others: a neighbour of the machine that comes or
 * goes within a second meets all contenders alike then.
 */
const slicesPerRound = 4
/** Load of a slice before it is measured: connections to the upstream open again, caches fill. */
const settleSeconds = 0.1

/**
 * Measures all cells in interleaved rounds, in a new order each, so that what disturbs the machine disturbs all alike. All
 * contenders start anew some times: two processes of one program can differ by a tenth for as long as they live.
 * @returns By the cells' names; nothing for those whose program is not installed.
 */
export async function measureCells(
  bench: Bench,
  cells: readonly Cell[],
  report: (line: string) => void,
): Promise<Map<string, CellRounds>> {
  const { rounds, starts, isQuick } = bench.options
  const measured = new Map<string, CellRounds>()
  for (let start = 0; start < starts; start++) {
    const contenders = await startContenders(bench, cells)
    try {
      if (!isQuick) await warmUpAll(bench, contenders, report)
      for (let round = firstRound(start, bench.options); round < firstRound(start + 1, bench.options); round++) {
        report(`round ${round + 1} of ${rounds}`)
        const sums = await measureRound(bench, contenders)
        for (const [cell, { cpu, requests, seconds }] of sums) {
          const found = measured.get(cell.name) ?? { cpuMicroseconds: [], requestsPerSecond: [], residentMegabytes: [] }
          found.cpuMicroseconds.push((cpu / requests) * 1e6)
          found.requestsPerSecond.push(requests / seconds)
          found.residentMegabytes.push(residentMegabytes(contenders.get(cell)?.pids() ?? []))
          measured.set(cell.name, found)
        }
      }
    } finally {
      await Promise.all([...new Set(contenders.values())].map((contender) => contender.stop()))
    }
  }
  return new Map(cells.flatMap(({ name }) => (measured.has(name) ? [[name, measured.get(name) as CellRounds]] : [])))
}

/** Load in seconds of wall clock, CPU time that the contender spent on it in seconds. */
interface Sum extends LoadResult {
  readonly cpu: number
}

async function measureRound(bench: Bench, contenders: ReadonlyMap<Cell, Contender>): Promise<Map<Cell, Sum>> {
  const slices = bench.options.isQuick ? 1 : slicesPerRound
  const limits = { seconds: bench.options.seconds / slices, minRequests: leastRequests / slices }
  const sums = new Map<Cell, Sum>()
  for (let slice = 0; slice < slices; slice++) {
    for (const [cell, contender] of shuffled([...contenders])) {
      const { cpu, requests, seconds } = await loadCell(bench, cell, contender, limits)
      const sum = sums.get(cell) ?? { cpu: 0, requests: 0, seconds: 0 }
      sums.set(cell, { cpu: sum.cpu + cpu, requests: sum.requests + requests, seconds: sum.seconds + seconds })
    }
  }
  return sums
}

function firstRound(start: number, { rounds, starts }: BenchOptions): number {
  return Math.floor((start * rounds) / starts)
}

async function startContenders(bench: Bench, cells: readonly Cell[]): Promise<Map<Cell, Contender>> {
  const started = new Map<string, Contender | undefined>()
  const contenders = new Map<Cell, Contender>()
  for (const cell of cells) {
    const key = `${cell.contender} with ${cell.routes} routes`
    if (!started.has(key)) {
      const [, first] = [...contenders].find(([earlier]) => earlier.contender === cell.contender) ?? []
      started.set(key, await startVerified(bench, cell, first))
    }
    const contender = started.get(key)
    if (contender === undefined) continue
    await bench.prepare(
      contender.cookies === undefined ? cell.traffic : { ...cell.traffic, cookies: contender.cookies },
    )
    contenders.set(cell, contender)
  }
  return contenders
}

/** @param first The same program with other routes, if it runs already. */
async function startVerified(
  bench: Bench,
  { contender: name, routes }: Cell,
  first: Contender | undefined,
): Promise<Contender | undefined> {
  const contender = await (first?.withRoutes?.(routes) ?? bench.startContender(name, routes))
  if (contender !== undefined) await verifyContender(bench, name, contender)
  return contender
}

async function warmUpAll(
  bench: Bench,
  contenders: ReadonlyMap<Cell, Contender>,
  report: (line: string) => void,
): Promise<void> {
  const warm = new Set<Contender>()
  for (const [cell, contender] of contenders) {
    report(`warming up ${cell.name}`)
    await loadCell(bench, cell, contender, warm.has(contender) ? moreWarmUp : warmUp)
    warm.add(contender)
  }
}

async function loadCell(
  bench: Bench,
  { traffic, connections }: Cell,
  contender: Contender,
  limits: LoadLimits,
): Promise<Sum> {
  const { options, load } = bench
  await load.ask({ do: 'open', port: contender.port, traffic: traffic.name, connections })
  await load.ask({ do: 'saturate', limits: { seconds: options.isQuick ? 0 : settleSeconds, minRequests: 0 } })
  const pids = contender.pids()
  const before = cpuSeconds(pids)
  const result = await load.ask<LoadResult>({ do: 'saturate', limits })
  const cpu = cpuSeconds(pids) - before
  await load.ask({ do: 'close' })
  return { cpu, ...result }
}
