import { cpuSeconds, residentMegabytes } from './accounting.ts'
import type { Bench } from './bench.ts'
import type { Contender, ContenderName } from './contenders/contender.ts'
import { cellOf, trafficOf, type CellName } from './figures.ts'
import type { LoadLimits, LoadResult } from './load.ts'
import { shuffled } from './statistics.ts'
import { verifyContender } from './verify.ts'

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
const moreWarmUp: LoadLimits = { seconds: 1, minRequests: 10_000 }
/** Load of a round before it is measured: connections to the upstream open again, caches fill. */
const settleSeconds = 0.2

/**
 * Measures all cells in interleaved rounds, in a new order each, so that what disturbs the machine disturbs all alike. All
 * contenders start anew some times: two processes of one program can differ by a tenth for as long as they live.
 * @returns Nothing for cells whose program is not installed.
 */
export async function measureCells(
  bench: Bench,
  names: readonly CellName[],
  report: (line: string) => void,
): Promise<Map<CellName, CellRounds>> {
  const { rounds, starts, seconds, isQuick } = bench.options
  const measured = new Map<CellName, CellRounds>()
  for (let start = 0; start < starts; start++) {
    const contenders = await startContenders(bench, names)
    try {
      const warm = new Set<Contender>()
      for (const [name, contender] of contenders) {
        if (isQuick) continue
        report(`warming up ${name}`)
        await loadCell(bench, name, contender, warm.has(contender) ? moreWarmUp : warmUp)
        warm.add(contender)
      }
      for (
        let round = Math.floor((start * rounds) / starts);
        round < Math.floor(((start + 1) * rounds) / starts);
        round++
      ) {
        report(`round ${round + 1} of ${rounds}`)
        for (const [name, contender] of shuffled([...contenders])) {
          const { cpu, result } = await loadCell(bench, name, contender, { seconds, minRequests: leastRequests })
          const cell = measured.get(name) ?? { cpuMicroseconds: [], requestsPerSecond: [], residentMegabytes: [] }
          cell.cpuMicroseconds.push((cpu / result.requests) * 1e6)
          cell.requestsPerSecond.push(result.requests / result.seconds)
          cell.residentMegabytes.push(residentMegabytes(contender.pids()))
          measured.set(name, cell)
        }
      }
    } finally {
      await Promise.all([...new Set(contenders.values())].map((contender) => contender.stop()))
    }
  }
  return new Map(names.flatMap((name) => (measured.has(name) ? [[name, measured.get(name) as CellRounds]] : [])))
}

async function startContenders(bench: Bench, names: readonly CellName[]): Promise<Map<CellName, Contender>> {
  const started = new Map<ContenderName, Contender | undefined>()
  const contenders = new Map<CellName, Contender>()
  for (const name of names) {
    const cell = cellOf(name)
    if (!started.has(cell.contender)) started.set(cell.contender, await startVerified(bench, cell.contender))
    const contender = started.get(cell.contender)
    if (contender === undefined) continue
    const traffic = trafficOf(cell.traffic, bench.options)
    await bench.prepare(contender.cookies === undefined ? traffic : { ...traffic, cookies: contender.cookies })
    contenders.set(name, contender)
  }
  return contenders
}

async function startVerified(bench: Bench, name: ContenderName): Promise<Contender | undefined> {
  const contender = await bench.startContender(name)
  if (contender !== undefined) await verifyContender(bench, name, contender)
  return contender
}

async function loadCell(
  bench: Bench,
  name: CellName,
  contender: Contender,
  limits: LoadLimits,
): Promise<{ cpu: number; result: LoadResult }> {
  const { options, load } = bench
  await load.ask({ do: 'open', port: contender.port, traffic: cellOf(name).traffic, connections: options.connections })
  await load.ask({ do: 'saturate', limits: { seconds: options.isQuick ? 0 : settleSeconds, minRequests: 0 } })
  const pids = contender.pids()
  const before = cpuSeconds(pids)
  const result = await load.ask<LoadResult>({ do: 'saturate', limits })
  const cpu = cpuSeconds(pids) - before
  await load.ask({ do: 'close' })
  return { cpu, result }
}
