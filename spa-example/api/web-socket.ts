import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { requireScope, type AccessToken } from './access-token.ts'
import { ApiError } from './errors.ts'
import type { Feed } from './feed.ts'

export interface FeedSockets {
  /** Answers a handshake for `/api/feed`, or refuses it with the status that the same request would get. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void
  close(): void
}

const MAX_NOTE_CHARACTERS = 200
const SUBPROTOCOL = 'feed.v1'

/** `/api/feed`: the feed as a WebSocket. What a client sends becomes a note in the feed of the same subject. */
export function createFeedSockets(
  feed: Feed,
  verify: (authorization: string | undefined) => Promise<AccessToken>,
): FeedSockets {
  const acceptor = new WebSocketServer({
    noServer: true,
    maxPayload: 4096,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  })

  async function accept(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const token = await verify(req.headers.authorization)
    if ((req.url ?? '').split('?')[0] !== '/api/feed') throw new ApiError(404, 'not_found', 'There is nothing here.')
    requireScope(token, 'orders:read')
    acceptor.handleUpgrade(req, socket, head, (made) => talk(made, token.sub))
  }

  function talk(socket: WebSocket, subject: string): void {
    const stop = feed.listen(subject, (event) => socket.send(JSON.stringify(event)))
    socket.on('close', stop)
    // A frame that is none closes the socket by itself, with the code that says so.
    socket.on('error', () => undefined)
    socket.on('message', (data: Buffer, isBinary) => {
      const text = data.toString()
      if (isBinary || text.trim() === '' || text.length > MAX_NOTE_CHARACTERS) socket.close(1008, 'not a note')
      else feed.publish(subject, 'note', { text })
    })
  }

  return {
    upgrade(req, socket, head) {
      // The client may go away before it is answered.
      socket.on('error', () => socket.destroy())
      accept(req, socket, head).catch((error: unknown) => {
        const status = error instanceof ApiError ? error.status : 500
        socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      })
    },
    close() {
      for (const socket of acceptor.clients) socket.terminate()
    },
  }
}
