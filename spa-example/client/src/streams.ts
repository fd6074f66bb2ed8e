import { retryAfterSeconds } from './agent.ts'
import type { TokenHandlerClient } from './client.ts'
import { deliver } from './deliver.ts'
import { TemporaryError, TokenHandlerClientError } from './errors.ts'
import { createEventStreamParser, type EventStreamParser, type ServerEvent } from './event-stream.ts'
import { isStreamEnd, keepOpen, type Attempt, type ConnectionEnd, type StreamOptions } from './reconnecting.ts'

export type { ServerEvent } from './event-stream.ts'
export type { StreamEnd, StreamOptions, StreamState } from './reconnecting.ts'

export interface EventSourceOptions extends StreamOptions {
  readonly onEvent: (event: ServerEvent) => void
  /** Where to go on, as kept from an earlier page; sent as `Last-Event-ID`. */
  readonly lastEventId?: string
  readonly headers?: HeadersInit
}

export interface EventSourceStream {
  /** Sent along when the stream is opened again. */
  readonly lastEventId: string
  close(): void
}

/**
 * Server-sent events for as long as the session lives. Read with `fetch` rather than the browser's EventSource, which hides
 * why a request was refused, sends `Last-Event-ID` at reconnections of its own only, and knows no refresh.
 * @throws TokenHandlerClientError `origin_not_allowed`
 */
export function eventSource(
  client: TokenHandlerClient,
  path: string | URL,
  { onEvent, lastEventId = '', headers, ...options }: EventSourceOptions,
): EventSourceStream {
  const url = client.internals.apiUrl(path)
  let parser = createEventStreamParser(lastEventId, onEvent)
  let retryMs: number | undefined
  const lost = (code = 'connection_lost'): ConnectionEnd => {
    // It holds until the server names another one (HTML section 9.2.6).
    retryMs = parser.retryMs ?? retryMs
    return { code, firstWaitMs: retryMs }
  }

  const connect = async ({ drop, opened, alive }: Attempt): Promise<ConnectionEnd> => {
    const all = new Headers(headers)
    all.set('accept', 'text/event-stream')
    if (parser.lastEventId !== '') all.set('last-event-id', parser.lastEventId)
    try {
      const response = await client.fetch(url, { headers: all, signal: drop, cache: 'no-store', background: true })
      const refusal = judge(response)
      if (refusal !== undefined) {
        void response.body?.cancel()
        return refusal
      }
      opened()
      let end: string | undefined
      parser = createEventStreamParser(parser.lastEventId, (event) => {
        if (isEndOfProxy(event)) end = event.type
        else if (end === undefined) deliver(onEvent, event)
      })
      await read(response, parser, () => {
        alive()
        return end === undefined
      })
      return lost(end)
    } catch (error) {
      if (error instanceof TemporaryError) return { code: error.code, waitMs: milliseconds(error.retryAfterSeconds) }
      if (error instanceof TokenHandlerClientError) throw error
      return lost()
    }
  }
  const close = keepOpen(client, options, connect)
  return {
    get lastEventId() {
      return parser.lastEventId
    },
    close,
  }
}

/** Statuses that tell of a passing condition. */
const PASSING = [408, 425, 429, 500, 502, 503, 504]

function judge(response: Response): ConnectionEnd | undefined {
  const { status } = response
  if (PASSING.includes(status)) {
    return { code: 'stream_unavailable', waitMs: milliseconds(retryAfterSeconds(response).retryAfterSeconds) }
  }
  // HTML section 9.2.3: this is how a server says that there is nothing more to come.
  if (status === 204) return { code: 'closed_by_server', isFinal: true }
  if (status === 200 && /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '')) return undefined
  const error = new TokenHandlerClientError('stream_refused', `No event stream, but status ${status}.`, { status })
  return { code: 'stream_refused', isFinal: true, error }
}

async function read(response: Response, parser: EventStreamParser, goOn: () => boolean): Promise<void> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  for (;;) {
    const { done = true, value } = (await reader?.read()) ?? {}
    if (done) return
    parser.push(decoder.decode(value, { stream: true }))
    if (!goOn()) return void reader?.cancel()
  }
}

/** The proxy's last word; an API's own event of such a name has other data. */
function isEndOfProxy({ type, data }: ServerEvent): boolean {
  return isStreamEnd(type) && data === JSON.stringify({ code: type })
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000
}

export interface WebSocketOptions extends StreamOptions {
  readonly onMessage: (data: string | ArrayBuffer) => void
  readonly protocols?: string | string[]
}

export interface WebSocketStream {
  /** The connection of now, for its `protocol` and `bufferedAmount`; undefined while there is none. */
  readonly socket: WebSocket | undefined
  /**
   * Sends now or never: nothing is kept for the next connection. It is activity unless marked `background`, as a ping is.
   * @returns whether it was handed to the browser
   */
  send(data: string | BufferSource | Blob, options?: { readonly background?: boolean }): boolean
  close(): void
}

/** Closed with one of these, a WebSocket is opened again: going away, lost, internal error, restart, try later, gateway, TLS. */
const PASSING_CLOSES = [1001, 1006, 1011, 1012, 1013, 1014, 1015]

/**
 * A WebSocket for as long as the session lives. The browser hides why a handshake was refused, so the agent is asked.
 * @throws TokenHandlerClientError `origin_not_allowed`
 */
export function webSocket(
  client: TokenHandlerClient,
  path: string | URL,
  { onMessage, protocols = [], ...options }: WebSocketOptions,
): WebSocketStream {
  const url = client.internals.apiUrl(path)
  url.protocol = url.protocol.replace('http', 'ws')
  let socket: WebSocket | undefined

  const connect = ({ drop, opened, alive }: Attempt): Promise<ConnectionEnd> => {
    const made = new WebSocket(url, protocols)
    made.binaryType = 'arraybuffer'
    return new Promise((resolve) => {
      const ended = (end: ConnectionEnd): void => {
        socket = undefined
        resolve(end)
      }
      drop.addEventListener('abort', () => {
        made.close()
        // A dead connection would answer the closing handshake only after a minute.
        ended({ code: 'connection_lost' })
      })
      made.addEventListener('open', () => {
        if (drop.aborted) return
        socket = made
        opened()
      })
      made.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
        if (drop.aborted) return
        alive()
        onMessage(data)
      })
      made.addEventListener('close', (event) => ended(endOf(event, socket !== undefined)))
    })
  }
  const close = keepOpen(client, options, connect)
  return {
    get socket() {
      return socket
    },
    send(data, { background = false } = {}) {
      if (socket?.readyState !== WebSocket.OPEN) return false
      if (!background) client.internals.activity.note()
      socket.send(data)
      return true
    },
    close,
  }
}

function endOf({ code: closeCode, reason }: CloseEvent, wasOpen: boolean): ConnectionEnd {
  if ([4401, 4408, 1001].includes(closeCode) && isStreamEnd(reason)) return { code: reason }
  if (!wasOpen) return { code: 'refused' }
  if (PASSING_CLOSES.includes(closeCode)) return { code: 'connection_lost' }
  return { code: 'closed_by_server', isFinal: true, closeCode }
}
