import type { Bench } from './bench.ts'
import { manySessions } from './figures.ts'
import { measureCells, type Cell, type CellRounds } from './measure-cpu.ts'
import { table } from './report.ts'
import { spreadOf } from './statistics.ts'

interface Point {
  readonly label: string
  readonly tokenBytes: number
  readonly routes: number
  readonly sessions: number
  readonly connections: number
}

const usual: Omit<Point, 'label'> = { tokenBytes: 900, routes: 10, sessions: manySessions, connections: 32 }

const points: readonly Point[] = [
  ...[300, 900, 1800, 3500, 4800].map((tokenBytes) => ({
    ...usual,
    label: `token of ${tokenBytes} bytes`,
    tokenBytes,
  })),
  ...[1, 100, 1000, 10_000].map((routes) => ({ ...usual, label: `${routes} routes`, routes })),
  ...[1, 1000, 5000, 100_000].map((sessions) => ({ ...usual, label: `${sessions} sessions in turn`, sessions })),
  ...[1, 8, 128, 1024].map((connections) => ({ ...usual, label: `${connections} connections`, connections })),
]

/** How the cost of a request grows with what there is of tokens, routes, sessions and connections. */
export async function growthReport(bench: Bench, report: (line: string) => void): Promise<string> {
  const pairs = points.map((point) => ({
    label: point.label,
    ours: cell('oauth_proxy', point),
    bare: cell('bare', point),
  }))
  const cells = await measureCells(
    bench,
    pairs.flatMap(({ ours, bare }) => [ours, bare]),
    report,
  )
  const columns = ['', 'OAuth Proxy µs', 'bare µs', 'added µs', 'requests/s', 'memory MB']
  return table(
    columns,
    pairs.flatMap(({ label, ours, bare }) => {
      const [mine, theirs] = [cells.get(ours.name), cells.get(bare.name)]
      return mine === undefined || theirs === undefined ? [] : [[label, ...row(mine, theirs)]]
    }),
  )
}

function cell(contender: 'oauth_proxy' | 'bare', { label, routes, tokenBytes, sessions, connections }: Point): Cell {
  const traffic = { name: `${sessions} ${tokenBytes} ${routes}`, sessions, tokenBytes, routes }
  return { name: `${contender}, ${label}`, contender, routes: contender === 'bare' ? 10 : routes, traffic, connections }
}

function row(mine: CellRounds, theirs: CellRounds): string[] {
  const added = mine.cpuMicroseconds.map((cpu, round) => cpu - (theirs.cpuMicroseconds[round] ?? NaN))
  return [
    spreadOf(mine.cpuMicroseconds).median.toFixed(1),
    spreadOf(theirs.cpuMicroseconds).median.toFixed(1),
    spreadOf(added).median.toFixed(1),
    spreadOf(mine.requestsPerSecond).median.toFixed(0),
    spreadOf(mine.residentMegabytes).median.toFixed(0),
  ]
}
