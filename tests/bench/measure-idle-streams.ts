import { buildKeyRing, createCookieSealer, systemClock } from '@token-handler/shared'
import { residentMegabytes } from './accounting.ts'
import type { Bench } from './bench.ts'
import type { StreamKind } from './idle-streams.ts'
import { keyContext } from './site.ts'
import { fakeToken, sessionCookies } from './traffic.ts'

const sessions = 200

/**
 * Resident memory that one idle stream takes in the OAuth Proxy's process, in kilobytes: with 2,000 open, minus before,
 * garbage collected both times. Before them some were opened and closed, so that code and caches are there already.
 */
export async function measureIdleStream(bench: Bench, kind: StreamKind): Promise<number> {
  const streams = bench.options.isQuick ? 50 : 2_000
  const proxy = await bench.startContender('oauth_proxy')
  if (proxy === undefined) throw new Error('the OAuth Proxy comes with the repository')
  const { port } = proxy
  const settled = async (): Promise<number> => {
    await proxy.collectGarbage?.()
    return residentMegabytes(proxy.pids())
  }
  try {
    const ring = buildKeyRing(bench.keyFile, keyContext)
    const sealer = createCookieSealer(() => ring, systemClock)
    const cookies = Array.from({ length: sessions }, () => sessionCookies(fakeToken(900), sealer))
    await bench.load.ask({ do: 'hold', port, kind, streams: sessions, cookies })
    await bench.load.ask({ do: 'let_go' })
    const before = await settled()
    await bench.load.ask({ do: 'hold', port, kind, streams, cookies })
    const after = await settled()
    await bench.load.ask({ do: 'let_go' })
    return ((after - before) * 1000) / streams
  } finally {
    await proxy.stop()
  }
}
