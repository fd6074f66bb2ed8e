import type { Bench } from './bench.ts'
import type { Contender } from './contenders/contender.ts'
import { cellOf } from './figures.ts'
import type { LatencyResult, LoadResult } from './load.ts'
import { shuffled } from './statistics.ts'

export interface AddedLatency {
  /** Requests a second: half of what the OAuth Proxy serves here when saturated. */
  readonly requestsPerSecond: number
  /** The OAuth Proxy's minus the bare proxy's, by round. */
  readonly p50Ms: readonly number[]
  readonly p99Ms: readonly number[]
}

/** Latency that the OAuth Proxy adds to the bare proxy's when both get the same requests at half load. */
export async function measureAddedLatency(bench: Bench, report: (line: string) => void): Promise<AddedLatency> {
  await bench.prepare(cellOf('bare/others', bench.options).traffic)
  const [proxy, bare] = [await bench.startContender('oauth_proxy'), await bench.startContender('bare')]
  if (proxy === undefined || bare === undefined) throw new Error('both contenders come with the repository')
  try {
    return await compare(bench, { proxy, bare }, report)
  } finally {
    await Promise.all([proxy.stop(), bare.stop()])
  }
}

async function compare(
  bench: Bench,
  { proxy, bare }: { proxy: Contender; bare: Contender },
  report: (line: string) => void,
): Promise<AddedLatency> {
  const { rounds, seconds, isQuick } = bench.options
  const limits = { seconds, minRequests: 200 }
  const warmUp = { seconds: 0, minRequests: isQuick ? 200 : 150_000 }
  report('looking for half load')
  await during(bench, bare, () => bench.load.ask({ do: 'saturate', limits: warmUp }))
  const saturated = await during(bench, proxy, async () => {
    await bench.load.ask({ do: 'saturate', limits: warmUp })
    return bench.load.ask<LoadResult>({ do: 'saturate', limits })
  })
  const requestsPerSecond = saturated.requests / saturated.seconds / 2

  const added: { p50Ms: number[]; p99Ms: number[] } = { p50Ms: [], p99Ms: [] }
  for (let round = 1; round <= rounds; round++) {
    report(`latency, round ${round} of ${rounds}`)
    const results = new Map<Contender, LatencyResult>()
    for (const contender of shuffled([proxy, bare])) {
      const result = await during(bench, contender, () =>
        bench.load.ask<LatencyResult>({ do: 'pace', limits, requestsPerSecond }),
      )
      results.set(contender, result)
    }
    const [ours, theirs] = [results.get(proxy), results.get(bare)]
    added.p50Ms.push((ours?.p50Ms ?? NaN) - (theirs?.p50Ms ?? NaN))
    added.p99Ms.push((ours?.p99Ms ?? NaN) - (theirs?.p99Ms ?? NaN))
  }
  return { requestsPerSecond, ...added }
}

async function during<T>({ load, options }: Bench, { port }: Contender, work: () => Promise<T>): Promise<T> {
  await load.ask({ do: 'open', port, traffic: 'others', connections: options.connections })
  const result = await work()
  await load.ask({ do: 'close' })
  return result
}
