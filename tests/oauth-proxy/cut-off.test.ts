import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, describe, expect, it } from '@jest/globals'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { makeCertificates } from '../support/certificates.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

/** A listener of one kind before the proxy, and how to connect to it. */
interface Listener {
  readonly server: Server
  readonly open: () => Promise<Socket>
}

const folder = mkdtempSync(join(tmpdir(), 'token-handler-cut-off-'))
let proxy: ProxyUnderTest
let listener: Listener

afterEach(async () => {
  const closed = once(listener.server, 'close')
  listener.server.close()
  await proxy.close()
  await closed
})

afterAll(() => rmSync(folder, { recursive: true }))

async function listen(transport: Transport): Promise<Listener> {
  if (transport === 'a Unix socket') {
    const server = createServer(serverOptions)
    hardenServer(server)
    const path = join(folder, `${Math.random()}.sock`)
    server.listen(path)
    await once(server, 'listening')
    return { server, open: async () => connected(connect(path), 'connect') }
  }
  const { authority, server: own } = await makeCertificates(['localhost'])
  const isTls = transport === 'TLS'
  const server = isTls
    ? createTlsServer({ ...serverOptions, cert: own.certificate, key: own.privateKey })
    : createServer(serverOptions)
  hardenServer(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const open = async (): Promise<Socket> =>
    isTls
      ? connected(connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: authority }), 'secureConnect')
      : connected(connect(port, '127.0.0.1'), 'connect')
  return { server, open }
}

async function connected(socket: Socket, event: string): Promise<Socket> {
  await once(socket, event)
  return socket
}

type Transport = 'TCP' | 'TLS' | 'a Unix socket'
const transports: readonly Transport[] = ['TCP', 'TLS', 'a Unix socket']

interface Spoiling {
  /** Media type of the answer. */
  readonly type?: string
  readonly idleTimeoutSeconds?: number
  readonly spoil?: () => void
}

/** Asks for an answer whose end never comes; tells with which error the connection ended, or that it ended well. */
async function ask(
  transport: Transport,
  { type = 'text/plain', idleTimeoutSeconds = 30, spoil = () => undefined }: Spoiling,
): Promise<string> {
  const answer = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`
  proxy = await startProxy({ routes: [{ idleTimeoutSeconds }], script: { onRequest: () => answer } })
  listener = await listen(transport)
  listener.server.on('request', (req, res) => proxy.proxy.handle(req, res))
  const client = await listener.open()
  let received = ''
  let failure = 'none'
  client.on('data', (bytes) => (received += bytes.toString('latin1')))
  client.on('error', (error: NodeJS.ErrnoException) => (failure = String(error.code)))
  const closed = once(client, 'close')
  client.write(proxy.bytes('GET /api/x').replace('HTTP/1.1', 'HTTP/1.0'))
  await until('the beginning', () => received.includes('half'))
  spoil()
  await closed.catch(() => undefined)
  return failure
}

function endSession(): void {
  proxy.clock.advanceSeconds(1)
  const now = proxy.clock.now()
  proxy.rules.add({ key: 'all', before: now, reason: 'revoked', expiresAt: now + 1000 })
}

describe.each(transports)('over %s, a client of HTTP/1.0 does not take for whole', (transport) => {
  it.each<[what: string, spoiling: Spoiling]>([
    ['what an API breaks off', { spoil: () => proxy.upstream.connections.at(-1)?.socket.destroy() }],
    ['what an API does not go on with', { idleTimeoutSeconds: 0.3 }],
    ['an event stream that falls silent', { type: 'text/event-stream', idleTimeoutSeconds: 0.3 }],
    ['an answer that is cut off, for the session was ended', { spoil: endSession }],
  ])('%s', async (_what, spoiling) => {
    // A Unix socket cannot be reset.
    expect(await ask(transport, spoiling)).toBe(transport === 'a Unix socket' ? 'none' : 'ECONNRESET')
    // The connection was dealt with, and the process is still there.
    proxy.upstream.script = {}
    expect((await proxy.call('GET /api/x')).status).toBe(spoiling.spoil === endSession ? 401 : 200)
    expect(proxy.log.filter(({ level }) => level === 'error')).toEqual([])
  })
})
