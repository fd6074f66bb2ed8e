import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { Registry, silentLogger } from '@token-handler/shared'
import { makeCertificates } from '../support/certificates.ts'
import { parseMetrics } from '../support/metrics.ts'
import { until } from '../support/until.ts'

const most = 20

describe.each(['TCP', 'TLS'] as const)('[D-LIM-01] a listener over %s that runs out of connections', (transport) => {
  let server: Server
  let registry: Registry
  let authority: string
  const sockets: Socket[] = []
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  })

  /** Answers `/` at once, and all else never to the end. */
  async function serve(): Promise<void> {
    const made = await makeCertificates(['localhost'])
    authority = made.authority
    const { certificate: cert, privateKey: key } = made.server
    server = transport === 'TLS' ? createTlsServer({ ...serverOptions, cert, key }) : createServer(serverOptions)
    server.maxConnections = most
    registry = new Registry()
    hardenServer(server, silentLogger, registry)
    server.on('request', (req, res) => (req.url === '/' ? res.end('ok') : res.write('begun')))
    server.on('upgrade', (_req, socket) => {
      socket.on('end', () => socket.end()).resume()
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }

  function remember(socket: Socket): Socket {
    sockets.push(socket.on('error', () => undefined))
    return socket
  }

  const portOf = (): number => (server.address() as AddressInfo).port

  /** Connects, and says nothing. */
  async function openSilent(): Promise<Socket> {
    const socket = remember(connect(portOf(), '127.0.0.1'))
    await once(socket, 'connect')
    return socket
  }

  /** Sends a request on a connection of its own, and waits for the beginning of the answer. */
  async function ask(target: string, headers = ''): Promise<{ readonly socket: Socket; readonly answer: string }> {
    const place = { port: portOf(), host: '127.0.0.1' }
    const socket = remember(
      transport === 'TLS' ? connectTls({ ...place, servername: 'localhost', ca: authority }) : connect(place),
    )
    let answer = ''
    socket.on('data', (bytes) => (answer += bytes.toString()))
    socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`)
    await until('an answer', () => answer.length > 0 || socket.closed)
    return { socket, answer }
  }

  async function counted(what: 'displaced' | 'dropped'): Promise<number | undefined> {
    return parseMetrics(await registry.metrics()).get(`token_handler_${what}_connections_total`)
  }

  async function connectionCount(): Promise<number> {
    return new Promise((resolve, reject) => {
      server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
    })
  }

  it('serves whoever asks, while others only connect', async () => {
    await serve()
    for (let i = 0; i < 3 * most; i++) await openSilent()
    for (let i = 0; i < 3; i++) expect((await ask('/')).answer).toMatch(/^HTTP\/1\.1 200/)
    expect(await counted('displaced')).toBeGreaterThan(most)
    expect(await counted('dropped')).toBe(0)
    expect(await connectionCount()).toBeLessThan(most)
  })

  it('closes silent connections first, then those between two requests, and none with a request under way', async () => {
    await serve()
    const idle = await ask('/')
    const stream = await ask('/stream')
    const webSocket = await ask('/ws', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')
    expect(webSocket.answer).toMatch(/^HTTP\/1\.1 101/)
    for (let i = 0; i < 3 * most; i++) await openSilent()
    expect([idle, stream, webSocket].map(({ socket }) => socket.closed)).toEqual([false, false, false])

    for (let i = 0; i < most - 3; i++) await ask('/stream')
    await until('the end of the idle connection', () => idle.socket.closed)
    expect([stream, webSocket].map(({ socket }) => socket.closed)).toEqual([false, false])
  })

  it('turns new connections away when all are at work', async () => {
    await serve()
    const streams = []
    for (let i = 0; i < most; i++) streams.push(await ask('/stream'))
    expect((await ask('/')).answer).toBe('')
    expect(await counted('dropped')).toBe(1)
    expect(streams.every(({ socket }) => !socket.closed)).toBe(true)
  })

  it('ends slow heads to make room', async () => {
    await serve()
    const slow = await openSilent()
    slow.write('GET / HTTP/1.1\r\nHost: ')
    for (let i = 0; i < most; i++) await openSilent()
    await until('the end of the slow one', () => slow.closed)
    expect((await ask('/')).answer).toMatch(/^HTTP\/1\.1 200/)
  })
})
