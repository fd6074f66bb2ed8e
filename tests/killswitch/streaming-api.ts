import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

/** An API whose `/api/events` never ends, whose `/api/feed` is a silent WebSocket, and whose other answers are small. */
export interface StreamingApi {
  readonly origin: string
  close(): Promise<void>
}

const order = Buffer.from(
  JSON.stringify({ id: 4711, status: 'confirmed', lines: Array.from({ length: 20 }, (_, id) => ({ id })) }),
)

export async function startStreamingApi(): Promise<StreamingApi> {
  const server = createServer({ keepAliveTimeout: 600_000 }, (req, res) => {
    if (req.url?.startsWith('/api/events') === true) {
      res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      res.write(': open\n\n')
    } else {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': order.length })
      res.end(order)
    }
  })
  const sockets = new WebSocketServer({ server, path: '/api/feed', perMessageDeflate: false })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      await closed
    },
  }
}
