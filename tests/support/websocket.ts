import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'

/** A handshake of RFC 6455 section 1.2, with its answer. */
export const handshakeKey = 'dGhlIHNhbXBsZSBub25jZQ=='
export const handshakeAccept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
export const handshake: readonly string[] = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${handshakeKey}`,
]

/** An API with WebSockets that echoes what it gets, and remembers handshakes and ends. */
export interface EchoServer {
  readonly origin: string
  readonly handshakes: readonly IncomingMessage[]
  readonly sockets: readonly WebSocket[]
  /** Close codes and reasons, in order. */
  readonly closes: readonly { readonly code: number; readonly reason: string }[]
  close(): Promise<void>
}

export async function startEchoServer(): Promise<EchoServer> {
  const server = createServer()
  const webSockets = new WebSocketServer({
    server,
    maxPayload: 128 * 1024 * 1024,
    handleProtocols: (offered) => [...offered][0] ?? false,
  })
  const handshakes: IncomingMessage[] = []
  const sockets: WebSocket[] = []
  const closes: { code: number; reason: string }[] = []
  webSockets.on('connection', (socket, req) => {
    handshakes.push(req)
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.on('message', (message: RawData, isBinary) => socket.send(message, { binary: isBinary }))
    socket.on('close', (code, reason) => closes.push({ code, reason: reason.toString() }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    handshakes,
    sockets,
    closes,
    async close() {
      for (const socket of webSockets.clients) socket.terminate()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
