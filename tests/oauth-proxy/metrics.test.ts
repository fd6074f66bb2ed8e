import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { Registry } from '@token-handler/shared'
import { parseMetrics, type Series } from '../support/metrics.ts'
import { answerText } from '../support/upstream.ts'
import { until } from '../support/until.ts'
import { handshake, handshakeAccept } from '../support/websocket.ts'
import { startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

const accepted = [
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Accept: ${handshakeAccept}`,
]

describe('metrics of the OAuth Proxy', () => {
  let proxy: ProxyUnderTest
  let registry: Registry
  beforeEach(() => {
    registry = new Registry()
  })
  afterEach(() => proxy.close())

  async function start(setup: ProxySetup = {}): Promise<void> {
    proxy = await startProxy({ registry, routes: [{}, { path: '/api/admin', acrValues: ['phr'] }], ...setup })
  }

  const series = async (): Promise<Series> => parseMetrics(await registry.metrics())
  const requests = async (route: string, outcome: string): Promise<number | undefined> =>
    (await series()).get(`token_handler_proxy_requests_total{route="${route}",outcome="${outcome}"}`)

  it('count requests by route and by class of the answer, or by our code', async () => {
    await start({
      script: {
        onRequest: ({ target }) => answerText('', { status: target === '/api/gone' ? '404 Not Found' : '200 OK' }),
      },
    })
    await proxy.call('GET /api/a')
    await proxy.call('GET /api/b')
    await proxy.call('GET /api/gone')
    await proxy.call('GET /api/admin/users')
    await proxy.call('GET /elsewhere')
    await proxy.call('OPTIONS /api/a', ['Access-Control-Request-Method: GET'])
    await proxy.call('GET /api/a', ['Sec-Fetch-Site: cross-site'])
    const counted = [...(await series())].filter(([name]) => name.startsWith('token_handler_proxy_requests_total'))
    expect(counted.filter(([, value]) => value > 0)).toEqual([
      ['token_handler_proxy_requests_total{route="none",outcome="not_found"}', 1],
      ['token_handler_proxy_requests_total{route="/api",outcome="2xx"}', 2],
      ['token_handler_proxy_requests_total{route="/api",outcome="4xx"}', 1],
      ['token_handler_proxy_requests_total{route="/api",outcome="cross_site"}', 1],
      ['token_handler_proxy_requests_total{route="/api",outcome="preflight"}', 1],
      ['token_handler_proxy_requests_total{route="/api/admin",outcome="step_up_required"}', 1],
    ])
    // So that a rate sees the first error that should not be.
    for (const route of ['none', '/api', '/api/admin']) expect(await requests(route, 'server_error')).toBe(0)
  })

  it.each<[how: string, leave: (socket: Socket) => void]>([
    ['closes its connection', (socket) => socket.end()],
    ['resets its connection', (socket) => socket.resetAndDestroy()],
  ])('count a browser that %s under a WebSocket as gone, not as a failure of the API', async (_how, leave) => {
    const isSilent = { api: true }
    const answer = `${accepted.join('\r\n')}\r\n\r\n`
    await start({
      routes: [{ webSocket: true }],
      script: { onRequest: () => (isSilent.api ? undefined : answer) },
    })
    const open = async (): Promise<number | undefined> => (await series()).get('token_handler_proxy_open_streams')
    async function leaveOne(): Promise<void> {
      const socket = connect(proxy.port, '127.0.0.1')
      socket.write(proxy.bytes('GET /api/feed', handshake))
      const asked = proxy.upstream.requests.length + 1
      await until('the handshake', () => proxy.upstream.requests.length === asked)
      if (!isSilent.api) await once(socket, 'data')
      leave(socket)
      await until('its end', async () => (await open()) === 0)
    }
    await leaveOne()
    expect(await requests('/api', 'client_gone')).toBe(1)
    isSilent.api = false
    await leaveOne()
    const counted = [...(await series())].filter(([name]) => /_proxy_(?:requests|broken)/.test(name))
    expect(counted.filter(([, count]) => count > 0)).toEqual([
      ['token_handler_proxy_requests_total{route="/api",outcome="1xx"}', 1],
      ['token_handler_proxy_requests_total{route="/api",outcome="client_gone"}', 1],
    ])
    expect(proxy.log).toEqual([])
  })

  it('tell what fails behind it, what waits, and who left', async () => {
    await start({ script: { onRequest: () => undefined } })
    const upstream = `token_handler_upstream_waiting_requests{upstream="${proxy.upstream.origin}"}`
    expect((await series()).get(upstream)).toBe(0)
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write(proxy.bytes('GET /api/slow'))
    await until('it waits', async () => (await series()).get(upstream) === 1)
    expect((await series()).get('token_handler_proxy_open_requests')).toBe(1)
    socket.destroy()
    await once(socket, 'close')
    await until('it is let go', async () => (await series()).get('token_handler_proxy_open_requests') === 0)
    expect(await requests('/api', 'client_gone')).toBe(1)
    expect((await series()).get(upstream)).toBe(0)
    await proxy.upstream.close()
    await proxy.call('GET /api/x')
    expect(await requests('/api', 'upstream_unavailable')).toBe(1)
  })

  it('count answers that broke off', async () => {
    await start({
      script: {
        onRequest(_request, socket) {
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
          return undefined
        },
      },
    })
    await proxy.call('GET /api/x')
    const broken = 'token_handler_proxy_broken_answers_total{route="/api"}'
    await until('it is counted', async () => (await series()).get(broken) === 1)
    expect(await requests('/api', '2xx')).toBe(1)
  })

  it('[D-OPS-04] have no more series after a thousand hostile paths, methods and headers', async () => {
    await start()
    const hostile = async (text: string): Promise<void> => {
      await proxy.call(`GET /api/${text}`)
      await proxy.call(`GET /${text}`)
      await proxy.call(`${text} /api/x`)
      await proxy.call(`GET /api/x`, [`Origin: https://${text}.example`])
      await proxy.call(`GET /api/../${text}`)
    }
    await hostile('A0')
    const before = [...(await series()).keys()]
    for (let count = 1; count <= 200; count++) await hostile(`A${count}`)
    expect([...(await series()).keys()]).toEqual(before)
    expect([...(await series()).values()].reduce((sum, value) => sum + value, 0)).toBeGreaterThan(800)
  })

  it('of two proxies in one process keep apart', async () => {
    await start()
    const other = await startProxy({ registry: new Registry() })
    try {
      await other.call('GET /api/x')
      expect(await requests('/api', '2xx')).toBeUndefined()
    } finally {
      await other.close()
    }
  })
})
