import { buildKeyRing, createCookieSealer, systemClock } from '@token-handler/shared'
import { residentMegabytes } from './accounting.ts'
import type { Bench } from './bench.ts'
import { keyContext } from './site.ts'
import { spreadOf } from './statistics.ts'
import type { Direction, StreamResult } from './stream.ts'
import { fakeToken, sessionCookies } from './traffic.ts'

const sampleMs = 10

const processes = 3

/**
 * Growth of the OAuth Proxy's resident memory between the first gigabyte of one body and the fourth, in megabytes: what it
 * held back would show. The median of three processes, for now and then one takes 20 MB more or less for its heap.
 */
export async function measureStreamGrowth(bench: Bench, direction: Direction): Promise<number> {
  const growths: number[] = []
  for (let run = 0; run < (bench.options.isQuick ? 1 : processes); run++)
    growths.push(await measureGrowth(bench, direction))
  return spreadOf(growths).median
}

/** Memory at either end is the median over a quarter of a gigabyte, for a single reading depends on when garbage was last collected. */
async function measureGrowth(bench: Bench, direction: Direction): Promise<number> {
  const unit = bench.options.isQuick ? 2e6 : 1e9
  const proxy = await bench.startContender('oauth_proxy')
  if (proxy === undefined) throw new Error('the OAuth Proxy comes with the repository')
  const samples: { readonly at: number; readonly megabytes: number }[] = []
  const sample = (): void => {
    samples.push({ at: Date.now(), megabytes: residentMegabytes(proxy.pids()) })
  }
  const timer = setInterval(sample, sampleMs)
  try {
    const ring = buildKeyRing(bench.keyFile, keyContext)
    const cookies = sessionCookies(
      fakeToken(900),
      createCookieSealer(() => ring, systemClock),
    )
    const { markAt } = await bench.load.ask<StreamResult>({
      do: 'stream',
      port: proxy.port,
      direction,
      bytes: 4 * unit,
      marks: [0.75 * unit, unit, 3.75 * unit, 4 * unit],
      cookies,
    })
    sample()
    const [firstFrom = 0, firstTo = 0, lastFrom = 0, lastTo = 0] = markAt
    // The nearest reading after the quarter counts when none fell into it, as in a smoke run.
    const memory = (from: number, to: number): number => {
      const within = samples.filter(({ at }) => at >= from && at <= to)
      const next = samples.find(({ at }) => at >= to)
      return spreadOf((within.length > 0 ? within : [next ?? { megabytes: NaN }]).map(({ megabytes }) => megabytes))
        .median
    }
    return memory(lastFrom, lastTo) - memory(firstFrom, firstTo)
  } finally {
    clearInterval(timer)
    await proxy.stop()
  }
}
