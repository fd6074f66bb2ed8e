import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import express, { type Express } from 'express'
import { WebSocket } from 'ws'
import { exchange, openClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { handshake, startEchoServer } from '../support/websocket.ts'
import { publicOrigin, startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

describe('the OAuth Proxy in an Express app', () => {
  let proxy: ProxyUnderTest
  let server: Server
  beforeEach(async () => {
    proxy = await startProxy({ routes: [{}, { path: '/files' }] })
  })
  afterEach(async () => {
    server.closeAllConnections()
    server.close()
    await proxy.close()
  })

  async function serve(
    mount: (app: Express) => void,
  ): Promise<(requestLine: string, headers?: string[], body?: string) => ReturnType<typeof exchange>> {
    const app = express().disable('x-powered-by')
    mount(app)
    app.use((_req, res) => void res.status(200).send('the SPA'))
    server = createServer(app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return (requestLine, headers, body) => exchange(port, proxy.bytes(requestLine, headers, body))
  }

  it('serves its routes and passes everything else on', async () => {
    const call = await serve((app) => app.use((req, res, next) => proxy.proxy.handle(req, res, next)))
    expect((await call('GET /api/x?y=1')).json()).toEqual({ ok: true })
    expect(proxy.upstream.requests[0]?.target).toBe('/api/x?y=1')
    expect((await call('GET /')).body).toBe('the SPA')
    expect((await call('GET /orders/1')).body).toBe('the SPA')
    expect((await call('GET /apix')).body).toBe('the SPA')
    expect((await call(`GET /callback?response=${'x'.repeat(9000)}`)).body).toBe('the SPA')
    expect((await call(`GET /api/x?y=${'x'.repeat(9000)}`)).status).toBe(414)
  })

  it('judges the whole path where it is mounted on a part of it', async () => {
    const call = await serve((app) => app.use('/api', (req, res, next) => proxy.proxy.handle(req, res, next)))
    expect((await call('GET /api/x')).status).toBe(200)
    expect((await call('GET /api/api/x')).status).toBe(200)
    expect(proxy.upstream.requests.map(({ target }) => target)).toEqual(['/api/x', '/api/api/x'])
  })

  it.each(['/api/../x', '/api/%2e%2e/x', '/api//x', '/api/x;y', '/api/%zz'])(
    '[D-PATH-07] answers 400 to %s itself instead of passing it on',
    async (target) => {
      const call = await serve((app) => app.use((req, res, next) => proxy.proxy.handle(req, res, next)))
      const answer = await call(`GET ${target}`)
      expect(answer.status).toBe(400)
      expect(answer.json().code).toBe('invalid_request')
      expect(proxy.upstream.received()).toBe('')
    },
  )

  it('[F-HP-4] answers 500 when a body parser was there before it, and forwards nothing', async () => {
    const call = await serve((app) => {
      app.use(express.json())
      app.use((req, res, next) => proxy.proxy.handle(req, res, next))
    })
    const answer = await call('POST /api/x', ['Content-Type: application/json', 'Content-Length: 2'], '{}')
    expect(answer.status).toBe(500)
    expect(answer.json().code).toBe('server_error')
    expect(proxy.upstream.received()).toBe('')
    expect(proxy.log.at(-1)?.level).toBe('error')
  })

  it('[F-HP-4] forwards a body once and with its length', async () => {
    const call = await serve((app) => app.use((req, res, next) => proxy.proxy.handle(req, res, next)))
    await call('PUT /api/x', ['Content-Type: application/json', 'Content-Length: 7'], '{"a":1}')
    expect(proxy.upstream.requests).toHaveLength(1)
    expect(proxy.upstream.requests[0]?.body).toBe('{"a":1}')
    expect(proxy.upstream.requests[0]?.values('content-length')).toEqual(['7'])
  })

  it('replaces headers that middleware before it has set', async () => {
    const call = await serve((app) => {
      app.use((_req, res, next) => {
        res.setHeader('Cache-Control', 'public')
        next()
      })
      app.use((req, res, next) => proxy.proxy.handle(req, res, next))
    })
    expect((await call('GET /api/x')).values('cache-control')).toEqual(['no-store'])
    expect((await call('GET /api/../x')).values('cache-control')).toEqual(['no-store'])
  })

  it('takes WebSockets of the same server, and leaves other paths of the app alone', async () => {
    const echo = await startEchoServer()
    const feeds = await startProxy({ routes: [{ upstream: echo.origin, webSocket: true }] })
    const call = await serve((app) => app.use((req, res, next) => feeds.proxy.handle(req, res, next)))
    server.on('upgrade', (req, socket, head) => feeds.proxy.upgrade(req, socket, head))
    const { port } = server.address() as AddressInfo
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/feed`, {
      headers: { host: 'www.example.com', origin: publicOrigin, cookie: feeds.session.cookie },
    })
    await once(socket, 'open')
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    expect((await call('GET /')).body).toBe('the SPA')
    const elsewhere = await call('GET /orders', [...handshake])
    expect([elsewhere.status, elsewhere.json().code]).toEqual([404, 'not_found'])
    const closed = once(socket, 'close')
    feeds.proxy.endStreams()
    expect((await closed)[0]).toBe(1001)
    await feeds.close()
    await echo.close()
  })

  it('[D-LIM-08] leaves a request alone whose client is gone by the time it gets it', async () => {
    const gone: boolean[] = []
    await serve((app) => {
      app.use((_req, res, next) => {
        res.on('close', () => void setImmediate(() => next()))
      })
      app.use((req, res, next) => {
        gone.push(res.destroyed)
        proxy.proxy.handle(req, res, next)
      })
    })
    const { port } = server.address() as AddressInfo
    for (const target of ['/api/x', '/api/../x']) {
      const client = await openClient(port)
      client.send(proxy.bytes(`GET ${target}`))
      setTimeout(() => client.destroy(), 20)
      await until('the handler', () => gone.length === (target === '/api/x' ? 1 : 2))
    }
    expect(gone).toEqual([true, true])
    expect(proxy.upstream.received()).toBe('')
  })
})
