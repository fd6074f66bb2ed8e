import type { IncomingMessage, Server } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { until } from '../support/until.ts'

export interface ScriptedSockets {
  /** Those that were accepted, oldest first. */
  readonly accepted: readonly WebSocket[]
  /** Paths of all handshakes. */
  readonly asked: readonly string[]
  /** The next handshakes are answered with these statuses; after them all are accepted. */
  readonly refusals: number[]
  /** Resolves with the latest when so many were accepted. */
  latest(count: number): Promise<WebSocket>
}

/** Accepts WebSocket handshakes, or refuses them as a proxy does: with a status that the browser hides. */
export function acceptSockets(server: Server | Http2SecureServer): ScriptedSockets {
  const acceptor = new WebSocketServer({ noServer: true })
  const accepted: WebSocket[] = []
  const asked: string[] = []
  const refusals: number[] = []
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    asked.push(request.url ?? '')
    const status = refusals.shift()
    if (status !== undefined) socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
    else acceptor.handleUpgrade(request, socket, head, (made) => accepted.push(made))
  })
  return {
    accepted,
    asked,
    refusals,
    async latest(count) {
      await until(`${count} WebSockets`, () => accepted.length >= count)
      return accepted[count - 1] as WebSocket
    },
  }
}
