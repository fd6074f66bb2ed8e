import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { drain, listen } from '../../cli/src/listener.ts'
import { makeCertificates } from '../support/certificates.ts'

/** More than all buffers between two sockets hold. */
const answerBytes = 32 * 1024 * 1024
const patienceMs = 50_000

let server: Server
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

async function plain(): Promise<() => Socket> {
  server = createServer(serverOptions)
  return () => connect((server.address() as AddressInfo).port, '127.0.0.1')
}

async function tls(): Promise<() => Socket> {
  const { server: pair, authority } = await makeCertificates(['localhost'])
  server = createTlsServer({ ...serverOptions, key: pair.privateKey, cert: pair.certificate })
  return () => connectTls({ port: (server.address() as AddressInfo).port, servername: 'localhost', ca: authority })
}

/** A client that asks and reads nothing yet, and the answer that was ended for it. */
async function askSilently(open: () => Socket): Promise<{ client: Socket; answer: ServerResponse }> {
  const client = open()
  client.on('error', () => undefined)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const [, answer] = (await once(server, 'request')) as [unknown, ServerResponse]
  return { client, answer }
}

describe('a server that is drained', () => {
  it.each([
    ['over HTTP', plain],
    ['over TLS', tls],
  ])(
    '[D-LIM-10] sends answers that were ended to their last byte, however slow a client reads: %s',
    async (_how, make) => {
      const open = await make()
      hardenServer(server)
      server.on('request', (_req, res: ServerResponse) => res.end(Buffer.alloc(answerBytes)))
      await listen(server, { host: '127.0.0.1', port: 0 })
      const { client, answer } = await askSilently(open)
      expect(answer.writableEnded).toBe(true)
      const drained = drain(server, patienceMs)
      let received = 0
      client.on('data', ({ length }: Buffer) => (received += length))
      await Promise.all([once(client, 'close'), drained])
      expect(answer.writableFinished).toBe(true)
      expect(received).toBeGreaterThan(answerBytes)
    },
  )

  it('closes idle connections at once, and in the end those that are not read', async () => {
    const open = await plain()
    hardenServer(server)
    server.on('request', (_req, res: ServerResponse) => res.end(Buffer.alloc(answerBytes)))
    await listen(server, { host: '127.0.0.1', port: 0 })
    const { client: idle, answer } = await askSilently(open)
    idle.resume()
    await once(answer, 'finish')
    const { client: silent } = await askSilently(open)
    const drained = drain(server, 200)
    await once(idle, 'close')
    await drained
    silent.destroy()
    expect(server.listening).toBe(false)
  })
})
