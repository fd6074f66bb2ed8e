import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { filesPath, publicOrigin } from './site.ts'
import { rawRequest } from './traffic.ts'

export type StreamKind = 'event_stream' | 'web_socket'

export const eventsPath = `${filesPath}/events`
const key = 'dGhlIHNhbXBsZSBub25jZQ=='
/** More at once would overflow the queue of connections that wait to be accepted. */
const atOnce = 100

/** The load generator's end: opens streams on connections of their own and leaves them alone once something came. */
export async function openIdleStreams(
  port: number,
  { kind, streams, cookies }: { kind: StreamKind; streams: number; cookies: readonly string[] },
): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < streams) {
    const batch = Array.from({ length: Math.min(atOnce, streams - sockets.length) }, (_, index) =>
      openIdleStream(port, kind, cookies[(sockets.length + index) % cookies.length]),
    )
    sockets.push(...(await Promise.all(batch)))
  }
  return sockets
}

async function openIdleStream(port: number, kind: StreamKind, cookie: string | undefined): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  const handshake = [
    `Origin: ${publicOrigin}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
  ]
  socket.write(rawRequest(`GET ${eventsPath}`, cookie, kind === 'web_socket' ? handshake : []))
  let received = ''
  while (!received.includes(greeting)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    received += chunk.toString('latin1')
    const status = received.slice(9, 12)
    if (status !== (kind === 'web_socket' ? '101' : '200')) throw new Error(`a contender answered:\n${received}`)
  }
  socket.resume()
  return socket
}

const greeting = 'hello'

/** The API's end of an event stream. */
export function serveEvents(res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  res.write(`data: ${greeting}\n\n`)
}

/** The API's end of a WebSocket (RFC 6455 section 4.2.2). */
export function serveWebSocket(req: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1')
    .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  const head = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}`
  socket.on('error', () => socket.destroy())
  socket.on('end', () => socket.end())
  socket.resume()
  socket.write(`${head}\r\n\r\n\x81${String.fromCharCode(greeting.length)}${greeting}`, 'latin1')
}
