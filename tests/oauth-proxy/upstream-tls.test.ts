import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { UpstreamTls } from '../../oauth-proxy/src/options.ts'
import { WebSocketServer } from 'ws'
import { makeCertificates, type Certificates } from '../support/certificates.ts'
import { openClient, type RawAnswer } from '../support/raw-client.ts'
import { handshake } from '../support/websocket.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

const name = 'orders.internal'
let api: Certificates
let other: Certificates
/** Of the proxy, in the eyes of an API that asks. */
let client: Certificates

let server: Server
let proxy: ProxyUnderTest
/** Bearer token and certificate's name of what reached the API; a WebSocket is told by its path. */
let seen: { target: string | undefined; bearer: string | undefined; subject: unknown }[]

beforeAll(async () => {
  ;[api, other, client] = [
    await makeCertificates([name, 'localhost']),
    await makeCertificates([name, 'localhost']),
    await makeCertificates(['proxy.internal'], 'clientAuth'),
  ]
}, 60_000)
afterEach(async () => {
  await proxy.close()
  server.closeAllConnections()
  server.close()
})

/** An API behind TLS that answers requests and takes WebSockets. */
async function start(
  upstreamTls: UpstreamTls | undefined,
  { host = 'localhost', demands }: { host?: string; demands?: Certificates } = {},
): Promise<void> {
  seen = []
  server = createServer({
    cert: api.server.certificate,
    key: api.server.privateKey,
    ...(demands === undefined ? {} : { ca: demands.authority, requestCert: true, rejectUnauthorized: true }),
  })
  const note = (url: string | undefined, bearer: string | undefined, socket: TLSSocket): void => {
    const { subject } = socket.getPeerCertificate()
    seen.push({ target: url, bearer, subject: subject?.CN })
  }
  server.on('request', (req, res) => {
    note(req.url, req.headers.authorization, req.socket as TLSSocket)
    res.end('{"ok":true}')
  })
  new WebSocketServer({ server }).on('connection', (socket, req) => {
    note(req.url, req.headers.authorization, req.socket as TLSSocket)
    socket.send('hello')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = `https://${host}:${(server.address() as AddressInfo).port}`
  proxy = await startProxy({ routes: [{ upstream, upstreamTls, webSocket: true }] })
}

/** A WebSocket through the proxy: what its first frame says, or how it was refused. */
async function webSocket(): Promise<string | RawAnswer> {
  const browser = await openClient(proxy.port)
  browser.send(proxy.bytes('GET /api/feed', handshake))
  await browser.receives('\r\n\r\n')
  if (!browser.received.startsWith('HTTP/1.1 101 ')) return browser.answer()
  await browser.receives('\x81\x05hello')
  browser.destroy()
  return 'hello'
}

async function expectBothPass(subject?: string): Promise<void> {
  expect((await proxy.call('GET /api/orders')).body).toBe('{"ok":true}')
  expect(await webSocket()).toBe('hello')
  const bearer = `Bearer ${proxy.session.accessToken}`
  expect(seen).toEqual([
    { target: '/api/orders', bearer, subject },
    { target: '/api/feed', bearer, subject },
  ])
}

async function expectBothRefused(): Promise<void> {
  for (const answer of [await proxy.call('GET /api/orders'), await webSocket()]) {
    if (typeof answer === 'string') throw new Error('the WebSocket was opened')
    expect([answer.status, answer.json().code]).toEqual([502, 'upstream_unavailable'])
    expect(answer.raw).not.toContain(name)
  }
  // The token must not even have been sent.
  expect(seen).toEqual([])
}

describe('an API behind TLS, for requests and WebSockets,', () => {
  it('is trusted by the authority that its route names', async () => {
    await start({ ca: api.authority })
    await expectBothPass()
  })

  it.each<[string, () => UpstreamTls | undefined]>([
    ['of another authority than the named one', () => ({ ca: other.authority })],
    ['of an authority that nobody named', () => undefined],
  ])('gets nothing, the browser a 502: %s', async (_what, tls) => {
    await start(tls())
    await expectBothRefused()
  })

  it('gets nothing where its certificate is for another name than its host', async () => {
    await start({ ca: api.authority }, { host: '127.0.0.1' })
    await expectBothRefused()
  })

  it('may have the name that its route says, in place of its host', async () => {
    await start({ ca: api.authority, servername: name }, { host: '127.0.0.1' })
    await expectBothPass()
  })

  it('gets nothing where its certificate lacks the name that its route says', async () => {
    await start({ ca: api.authority, servername: 'invoices.internal' })
    await expectBothRefused()
  })

  it('is shown our certificate where it asks for one', async () => {
    const { certificate: cert, privateKey: key } = client.server
    await start({ ca: api.authority, cert, key }, { demands: client })
    await expectBothPass('proxy.internal')
  })

  it.each<[string, () => UpstreamTls]>([
    ['none', () => ({})],
    [
      'one of an authority that it does not know',
      () => ({ cert: other.server.certificate, key: other.server.privateKey }),
    ],
  ])('refuses us where it asks for a certificate and we have %s', async (_what, tls) => {
    await start({ ca: api.authority, ...tls() }, { demands: client })
    await expectBothRefused()
  })
})
