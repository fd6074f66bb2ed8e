import type { IncomingHttpHeaders, Server } from 'node:http'
import type { Socket } from 'node:net'

/** A request as a server understood it. */
export interface TappedRequest {
  readonly method: string
  readonly url: string
  /** Path of `url`. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

/** What went over a server's connections since the tap was set. */
export interface WireTap {
  readonly requests: readonly TappedRequest[]
  /** Everything that was sent, by connection: heads with every `Set-Cookie`, and bodies that no browser tool shows any more. */
  sent(): string[]
}

/** Records what a server gets and, to the byte, what it sends. */
export function tapServer(server: Server): WireTap {
  const requests: TappedRequest[] = []
  const connections: string[][] = []
  // Under TLS the sockets of `connection` carry what is encrypted already.
  const event = 'setSecureContext' in server ? 'secureConnection' : 'connection'
  server.prependListener(event, (socket: Socket) => {
    const chunks: string[] = []
    connections.push(chunks)
    const write = socket.write.bind(socket) as (chunk: string | Uint8Array, ...rest: unknown[]) => boolean
    socket.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
      chunks.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1'))
      return write(chunk, ...rest)
    }
  })
  server.prependListener('request', ({ method = '', url = '', headers }) => {
    requests.push({ method, url, path: url.split('?', 1)[0] ?? '', headers })
  })
  return { requests, sent: () => connections.map((chunks) => chunks.join('')) }
}
