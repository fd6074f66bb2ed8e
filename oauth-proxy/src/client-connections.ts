import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

/** What node:http knows of a connection, by its own names. */
export interface HttpSocket extends Socket {
  /** The answer that is being written; `null` between two requests, and missing before the first one. */
  readonly _httpMessage?: ServerResponse | null
  /** `null` once the connection speaks another protocol. */
  readonly parser?: object | null
  /** Of TLS: what it is spoken on. */
  readonly _parent?: Socket | null
}

/** Of all places this part is made free at once, since looking through all connections for one of them costs too much. */
const batchShare = 64

/** The open connections of one listener. */
export class ClientConnections {
  readonly #server: Server
  /** What HTTP is spoken on, by the transport below it; without TLS they are the same, and during a handshake there is none yet. */
  readonly #open = new Map<Socket, HttpSocket | undefined>()

  /** @param madeRoom Is told how many connections were closed to make room for others. */
  constructor(server: Server, madeRoom: (count: number) => void) {
    this.#server = server
    const speaksTls = server instanceof TlsServer
    server.on('connection', (transport: Socket) => {
      this.#open.set(transport, speaksTls ? undefined : transport)
      transport.once('close', () => this.#open.delete(transport))
      const count = this.#makeRoom(transport)
      if (count > 0) madeRoom(count)
    })
    if (!speaksTls) return
    server.on('secureConnection', (socket: HttpSocket) => {
      const { _parent: transport } = socket
      if (transport !== undefined && transport !== null && this.#open.has(transport)) this.#open.set(transport, socket)
    })
  }

  /** Those that still have something to send. */
  sending(): Socket[] {
    return [...this.#open.values()].filter((socket) => socket !== undefined && socket.writableLength > 0) as Socket[]
  }

  /**
   * Keeps a place free for the next one to come: before Node turns that away, connections without a request under way are
   * closed. First those that never had a whole one, of them the oldest: who means well sends it at once.
   */
  #makeRoom(newest: Socket): number {
    const { maxConnections: most } = this.#server
    if (this.#open.size < most) return 0
    const wanted = Math.ceil(most / batchShare)
    const silent: Socket[] = []
    const idle: Socket[] = []
    for (const [transport, socket] of this.#open) {
      if (silent.length === wanted) break
      if (transport === newest) continue
      const use = socket === undefined ? 'silent' : useOf(socket)
      if (use === 'silent') silent.push(transport)
      else if (use === 'idle' && idle.length < wanted) idle.push(transport)
    }
    const closing = [...silent, ...idle].slice(0, wanted)
    for (const transport of closing) transport.destroy()
    return closing.length
  }
}

/** Whether a connection had no whole request yet, waits for another one, or has something to do. */
function useOf({ parser, _httpMessage: answer }: HttpSocket): 'silent' | 'idle' | 'busy' {
  if (parser === undefined || parser === null) return 'busy'
  if (answer === undefined) return 'silent'
  return answer === null ? 'idle' : 'busy'
}
