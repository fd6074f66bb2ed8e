import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { findMessageEnd, headerList, headLines, type HeaderLine } from './http-message.ts'

/** A request as the API got it, to the byte. */
export interface RecordedRequest {
  readonly method: string
  readonly target: string
  readonly headers: readonly HeaderLine[]
  /** All values of one header, by its lower-case name. */
  values(name: string): string[]
  /** The body as it was framed: chunked bodies with their chunk lines. */
  readonly body: string
  /** Head and body as they came. */
  readonly raw: string
}

/** What a scripted API does. Nothing given: every request is answered 200 `{"ok":true}` and the connection goes on. */
export interface Script {
  /** Called when a request's head is there, its body may not be. */
  readonly onHead?: (head: string, socket: Socket) => void
  /** Called when a whole request is there; what it returns is written as it is. */
  readonly onRequest?: (request: RecordedRequest, socket: Socket) => string | Buffer | undefined
  /** Called when a connection opens. */
  readonly onConnection?: (socket: Socket) => void
}

/** An API on a bare TCP socket: it records every byte, tidies nothing up, and answers whatever the test says. */
export interface Upstream {
  readonly origin: string
  readonly port: number
  /** Whole requests in the order of their ends. */
  readonly requests: readonly RecordedRequest[]
  /** Everything that came, by connection. */
  readonly connections: readonly { readonly socket: Socket; received: string; isOpen: boolean }[]
  /** Everything that came, on any connection. */
  received(): string
  script: Script
  close(): Promise<void>
}

/** A whole answer with an exact length. */
export function answerText(
  body: string,
  { status = '200 OK', headers = [] }: { status?: string; headers?: readonly string[] } = {},
): string {
  return [`HTTP/1.1 ${status}`, `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n')
}

const usualAnswer = answerText('{"ok":true}', { headers: ['Content-Type: application/json'] })

export async function startUpstream(script: Script = {}): Promise<Upstream> {
  const requests: RecordedRequest[] = []
  const connections: { socket: Socket; received: string; isOpen: boolean }[] = []
  const server = createServer((socket) => {
    const connection = { socket, received: '', isOpen: true }
    connections.push(connection)
    let pending = ''
    let sawHead = false
    socket.on('error', () => {})
    socket.on('close', () => (connection.isOpen = false))
    upstream.script.onConnection?.(socket)
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      connection.received += text
      pending += text
      for (;;) {
        const headEnd = pending.indexOf('\r\n\r\n')
        if (headEnd === -1) return
        if (!sawHead) {
          sawHead = true
          upstream.script.onHead?.(pending.slice(0, headEnd + 4), socket)
        }
        const end = findMessageEnd(pending)
        if (end === undefined) return
        const request = parseRequest(pending.slice(0, end))
        pending = pending.slice(end)
        sawHead = false
        requests.push(request)
        const { onRequest, onHead } = upstream.script
        const answer = onRequest === undefined && onHead === undefined ? usualAnswer : onRequest?.(request, socket)
        if (answer !== undefined) socket.write(answer, 'latin1')
      }
    })
  })
  const upstream: Upstream = {
    origin: '',
    port: 0,
    requests,
    connections,
    received: () => connections.map(({ received }) => received).join(''),
    script,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const { socket } of connections) socket.destroy()
      await closed
    },
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return Object.assign(upstream, { port, origin: `http://127.0.0.1:${port}` })
}

function parseRequest(raw: string): RecordedRequest {
  const [requestLine = '', ...lines] = headLines(raw)
  const [method = '', target = ''] = requestLine.split(' ')
  const headers = headerList(lines)
  return {
    method,
    target,
    headers,
    values: (name) => headers.filter(([found]) => found.toLowerCase() === name).map(([, value]) => value),
    body: raw.slice(raw.indexOf('\r\n\r\n') + 4),
    raw,
  }
}
