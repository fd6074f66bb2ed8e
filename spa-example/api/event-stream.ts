import type { IncomingMessage, ServerResponse } from 'node:http'
import { requireScope, type AccessToken } from './access-token.ts'
import type { Feed } from './feed.ts'

const HEARTBEAT_MS = 15_000

/** `GET /api/events`: the feed as server-sent events (HTML section 9.2), from `Last-Event-ID` on where that is sent. */
export function createEventStream(feed: Feed) {
  return async (req: IncomingMessage, token: AccessToken): Promise<{ stream: (res: ServerResponse) => void }> => {
    requireScope(token, 'orders:read')
    const lastEventId = req.headers['last-event-id']
    const since = typeof lastEventId === 'string' && /^\d{1,15}$/.test(lastEventId) ? Number(lastEventId) : undefined
    return {
      stream(res) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
        // Says at once that the stream is open; later comments keep it open where silence would be taken for an end.
        res.write(':\n\n')
        const heartbeat = setInterval(() => res.write(':\n\n'), HEARTBEAT_MS)
        const stop = feed.listen(
          token.sub,
          ({ id, type, data }) => res.write(`id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`),
          since,
        )
        res.on('close', () => {
          clearInterval(heartbeat)
          stop()
        })
      },
    }
  }
}
