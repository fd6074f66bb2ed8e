/** The API behind every contender: about 1 KB of JSON at once, long bodies and streams on request, and a memory of the last request. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { eventsPath, serveEvents, serveWebSocket } from './idle-streams.ts'
import { filesPath } from './site.ts'
import { answerParent } from './processes.ts'

export type UpstreamQuestion = { readonly do: 'listen' } | { readonly do: 'last' }

export interface UpstreamAnswer {
  readonly port: number
  /** Headers of the last request. */
  readonly headers: IncomingHttpHeaders
}

const order = {
  id: '0198c5a2-7d1e-7c43-9a52-0f6a1b8e4d21',
  status: 'confirmed',
  customer: { id: 4711, name: 'Example Trading', city: 'Freiburg' },
  lines: Array.from({ length: 8 }, (_, index) => ({
    sku: `A-${1000 + index}`,
    quantity: index + 1,
    unit_price: '19.90',
    description: 'Fixture, stainless steel, boxed',
  })),
}
const body = Buffer.from(JSON.stringify(order))
const headers = Object.entries({
  'Content-Type': 'application/json; charset=utf-8',
  'Content-Length': String(body.length),
  'Cache-Control': 'private, max-age=0',
  ETag: 'W/"3e8-a7b1c2d3e4f5"',
  Vary: 'Accept-Encoding',
  'X-Request-Id': '0198c5a2-7d1e-7c43-9a52-0f6a1b8e4d22',
}).flat()
const chunk = Buffer.alloc(65_536, 'x')
let last: IncomingMessage | undefined

const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
  last = req
  if (req.url?.startsWith(`${filesPath}?bytes=`) === true) void sendBytes(res, Number(req.url.split('=')[1]))
  else if (req.url === eventsPath) serveEvents(res)
  else if (req.method === 'POST') swallow(req, res)
  else {
    res.writeHead(200, headers)
    res.end(body)
  }
})

server.on('upgrade', serveWebSocket)

async function sendBytes(res: ServerResponse, bytes: number): Promise<void> {
  res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
  for (let left = bytes; left > 0; left -= chunk.length) {
    if (!res.write(left < chunk.length ? chunk.subarray(0, left) : chunk)) await once(res, 'drain')
  }
  res.end()
}

function swallow(req: IncomingMessage, res: ServerResponse): void {
  let received = 0
  req.on('data', (part: Buffer) => (received += part.length))
  req.on('end', () => {
    const answer = `{"received":${received}}`
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
    res.end(answer)
  })
}

answerParent(async (question) => {
  if ((question as UpstreamQuestion).do === 'listen') await once(server.listen(0, '127.0.0.1'), 'listening')
  return { port: (server.address() as AddressInfo).port, headers: last?.headers ?? {} }
})
