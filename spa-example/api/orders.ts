import type { IncomingMessage } from 'node:http'
import { requireScope, type AccessToken } from './access-token.ts'
import { ApiError } from './errors.ts'
import type { Feed } from './feed.ts'

interface Order {
  id: number
  item: string
  quantity: number
  created_at: string
  cancelled_at?: string
}

const MAX_BODY_BYTES = 64 * 1024

/** Orders in memory, for each subject; what happens to them goes to the feed. */
export function createOrders(feed: Feed) {
  const bySubject = new Map<string, Order[]>()
  const ordersOf = (subject: string): Order[] => bySubject.get(subject) ?? []

  return {
    /** `GET /api/orders` */
    list: async (_req: IncomingMessage, token: AccessToken) => {
      requireScope(token, 'orders:read')
      return { status: 200, body: { orders: ordersOf(token.sub) } }
    },
    /** `POST /api/orders` with JSON `{item, quantity}` */
    create: async (req: IncomingMessage, token: AccessToken) => {
      requireScope(token, 'orders:write')
      const { item, quantity } = parseOrder(await readJson(req))
      const earlier = ordersOf(token.sub)
      const order: Order = { id: earlier.length + 1, item, quantity, created_at: new Date().toISOString() }
      bySubject.set(token.sub, [...earlier, order])
      feed.publish(token.sub, 'order', order)
      return { status: 201, body: order }
    },
    /** `PUT /api/cancellations/<id>`: a cancelled order stays cancelled, however often it is asked for. */
    cancel: async (req: IncomingMessage, token: AccessToken) => {
      requireScope(token, 'orders:write')
      const id = Number(/\/(\d{1,9})$/.exec((req.url ?? '').split('?')[0] ?? '')?.[1])
      const order = ordersOf(token.sub).find((candidate) => candidate.id === id)
      if (order === undefined) throw new ApiError(404, 'not_found', 'There is no such order.')
      if (order.cancelled_at === undefined) {
        order.cancelled_at = new Date().toISOString()
        feed.publish(token.sub, 'cancellation', order)
      }
      return { status: 200, body: order }
    },
  }
}

function parseOrder(value: unknown): { item: string; quantity: number } {
  const { item, quantity } = typeof value === 'object' && value !== null ? (value as Partial<Order>) : {}
  if (typeof item !== 'string' || item.trim() === '' || item.length > 200)
    throw invalidOrder('item: 1 to 200 characters')
  if (!Number.isInteger(quantity) || quantity === undefined || quantity < 1 || quantity > 1000)
    throw invalidOrder('quantity: a whole number from 1 to 1000')
  return { item, quantity }
}

function invalidOrder(message: string): ApiError {
  return new ApiError(400, 'invalid_order', message)
}

async function readJson(req: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\s*(;|$)/i.test(req.headers['content-type'] ?? ''))
    throw new ApiError(415, 'unsupported_media_type', 'Send application/json.')
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new ApiError(413, 'too_large', 'An order is small.', { Connection: 'close' })
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    throw invalidOrder('not JSON')
  }
}
