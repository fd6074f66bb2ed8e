import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { dechunk, findMessageEnd, headerList, headLines, type HeaderLine } from './http-message.ts'

const patienceMs = 15_000

/** An answer as the client got it, to the byte. */
export interface RawAnswer {
  readonly status: number
  readonly headers: readonly HeaderLine[]
  /** All values of one header, by its lower-case name. */
  values(name: string): string[]
  /** The content, without chunk lines. */
  readonly body: string
  json(): { code?: string; message?: string }
  readonly raw: string
}

/** A client on a bare TCP socket: it sends what it is told and understands an answer no more than it must. */
export interface RawClient {
  readonly socket: Socket
  /** Everything that came and was not read as an answer yet. */
  received: string
  isClosed: boolean
  /** Code of the error that ended the connection, such as ECONNRESET. */
  failure: string | undefined
  send(bytes: string): void
  /** The next answer, once it is whole. Interim answers (1xx) are answers too. */
  answer(options?: { method?: string }): Promise<RawAnswer>
  /** Waits until these bytes came. */
  receives(text: string): Promise<void>
  /** Waits until the other side has closed the connection. */
  closed(): Promise<void>
  destroy(): void
}

/** @param options.from The client's own address: any of this machine. */
export async function openClient(port: number, { from }: { from?: string | undefined } = {}): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', ...(from === undefined ? {} : { localAddress: from }) })
  const waiting = new Set<() => void>()
  const look = (): void => {
    for (const check of waiting) check()
  }
  /** Resolves as soon as what came makes it true. */
  const seen = (what: string, isTrue: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(check)
        reject(new Error(`${what}: not within ${patienceMs} ms; got ${JSON.stringify(client.received.slice(0, 200))}`))
      }, patienceMs)
      const check = (): void => {
        if (!isTrue()) return
        clearTimeout(timer)
        waiting.delete(check)
        resolve()
      }
      waiting.add(check)
      check()
    })
  const client: RawClient = {
    socket,
    received: '',
    isClosed: false,
    failure: undefined,
    send: (bytes) => void socket.write(bytes, 'latin1'),
    async answer({ method = 'GET' } = {}) {
      const end = () => {
        const status = Number(client.received.slice(9, 12))
        const hasNoBody = method === 'HEAD' || status < 200 || status === 204 || status === 304
        return findMessageEnd(client.received, { hasNoBody, untilClose: true })
      }
      await seen('an answer', () => end() !== undefined || client.isClosed)
      const length = end() ?? client.received.length
      const raw = client.received.slice(0, length)
      client.received = client.received.slice(length)
      return parseAnswer(raw)
    },
    closed: () => seen('the end of the connection', () => client.isClosed),
    receives: (text) => seen(text, () => client.received.includes(text)),
    destroy: () => void socket.destroy(),
  }
  socket.on('data', (chunk: Buffer) => {
    client.received += chunk.toString('latin1')
    look()
  })
  socket.on('error', ({ code }: NodeJS.ErrnoException) => (client.failure = code))
  socket.on('close', () => {
    client.isClosed = true
    look()
  })
  await once(socket, 'connect')
  return client
}

/** Sends bytes on a connection of their own and reads one answer. */
export async function exchange(
  port: number,
  bytes: string,
  options: { method?: string; from?: string } = {},
): Promise<RawAnswer> {
  const client = await openClient(port, options)
  try {
    client.send(bytes)
    return await client.answer(options)
  } finally {
    client.destroy()
  }
}

/** A request without body, as bytes; lines end as they must. */
export function rawRequest(requestLine: string, headers: readonly string[], body = ''): string {
  return [`${requestLine} HTTP/1.1`, ...headers, '', body].join('\r\n')
}

function parseAnswer(raw: string): RawAnswer {
  const [statusLine = '', ...lines] = headLines(raw)
  const headers = headerList(lines)
  const values = (name: string): string[] =>
    headers.filter(([found]) => found.toLowerCase() === name).map(([, value]) => value)
  const content = raw.slice(raw.indexOf('\r\n\r\n') + 4)
  const body = values('transfer-encoding').includes('chunked') ? dechunk(content) : content
  return {
    status: Number(statusLine.split(' ')[1]),
    headers,
    values,
    body,
    json: () => JSON.parse(body) as { code?: string; message?: string },
    raw,
  }
}
