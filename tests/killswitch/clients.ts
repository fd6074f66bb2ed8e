import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { publicOrigin } from './fleet.ts'

/** What a browser on the SPA's page sends. */
export function requestOf(path: string, cookie: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\nSec-Fetch-Site: same-origin\r\n` +
      `Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nOrigin: ${publicOrigin}\r\ntoken-handler-version: 1\r\n\r\n`,
  )
}

/** @returns Once the stream is open: when it is closed. */
export async function openStream(port: number, cookie: string): Promise<{ readonly closedAt: Promise<number> }> {
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
