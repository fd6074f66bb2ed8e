import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { publicOrigin } from './fleet.ts'

/** Close code of a WebSocket whose session is over. */
const sessionEnded = 4401

/** What a browser on the SPA's page sends. */
export function requestOf(path: string, cookie: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\nSec-Fetch-Site: same-origin\r\n` +
      `Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nOrigin: ${publicOrigin}\r\ntoken-handler-version: 1\r\n\r\n`,
  )
}

/** A stream that is open, and when its session's end reaches it. */
export interface OpenStream {
  readonly closedAt: Promise<number>
}

export async function openEventStream(port: number, cookie: string): Promise<OpenStream> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  await once(socket, 'connect')
  socket.write(requestOf('/api/events', cookie))
  let received = ''
  const isOpen = Promise.withResolvers<void>()
  socket.on('data', (bytes: Buffer) => {
    received = (received + bytes.toString('latin1')).slice(-1000)
    if (received.includes(': open')) isOpen.resolve()
    // The last event, and with it the end of the answer: the connection may live on.
    if (received.endsWith('\r\n0\r\n\r\n')) socket.end()
  })
  const closedAt = new Promise<number>((resolve) => {
    socket.once('finish', () => resolve(performance.now()))
    socket.once('end', () => resolve(performance.now()))
    socket.once('close', () => resolve(performance.now()))
  })
  void closedAt.then(() => isOpen.reject(new Error(`a stream was refused: ${received.slice(0, 200)}`)))
  await isOpen.promise
  return { closedAt }
}

export async function openWebSocket(port: number, cookie: string): Promise<OpenStream> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/feed`, {
    headers: {
      host: 'localhost',
      cookie,
      origin: publicOrigin,
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'websocket',
    },
    perMessageDeflate: false,
  })
  const closedAt = new Promise<number>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', (code) => {
      if (code === sessionEnded) resolve(performance.now())
      else reject(new Error(`a WebSocket was closed with ${code}`))
    })
  })
  await Promise.race([once(socket, 'open'), closedAt])
  return { closedAt }
}

export interface Probe {
  readonly status: number
  /** When the request was sent, and when its answer began. */
  readonly sentAt: number
  readonly at: number
}

/** Asks again and again until it is told to stop. */
export function startProbing(
  port: number,
  cookie: string,
  pauseMs = 4,
): { stop(): Promise<readonly Probe[]>; readonly probes: readonly Probe[] } {
  const probes: Probe[] = []
  const request = requestOf('/api/orders', cookie)
  const stopping = new AbortController()
  const running = (async () => {
    while (!stopping.signal.aborted) {
      probes.push(await ask(port, request))
      await sleep(pauseMs)
    }
  })()
  return {
    probes,
    async stop() {
      stopping.abort()
      await running
      return probes
    },
  }
}

/** One request on a connection of its own. Status 0 where there is no answer. */
export async function ask(port: number, request: Buffer): Promise<Probe> {
  const socket = connect(port, '127.0.0.1')
  const sentAt = performance.now()
  const { promise, resolve } = Promise.withResolvers<number>()
  socket.on('data', (bytes: Buffer) => resolve(Number(bytes.toString('latin1', 9, 12))))
  socket.on('error', () => resolve(0))
  socket.on('close', () => resolve(0))
  socket.write(request)
  const status = await promise
  const at = performance.now()
  socket.destroy()
  return { status, sentAt, at }
}
