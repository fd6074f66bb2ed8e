import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { errorCatalogue, type AccessCookieClaims, type ErrorCode, type SessionIdentity } from '@token-handler/shared'
import { BrowserSide } from './browser-side.ts'
import type { AdmittedRequest, ExchangeDeps } from './forward.ts'
import type { Placed } from './open-exchanges.ts'
import type { OpenStreams, StreamPlace } from './streams.ts'
import { codeOfUpstreamError, InvalidResponseError } from './upstream-errors.ts'
import { isAccepted, type HandshakeHeaders } from './websocket-handshake.ts'
import type { StreamEnd } from './websocket-frames.ts'

/** A handshake that may go to its API. */
export interface AdmittedHandshake extends AdmittedRequest {
  readonly claims: AccessCookieClaims | undefined
  readonly handshake: HandshakeHeaders
  readonly socket: Socket
  /** What the browser sent behind its handshake. */
  readonly head: Buffer
}

export interface TunnelDeps extends Omit<ExchangeDeps, 'ended'> {
  readonly streams: OpenStreams
  readonly ended: (tunnel: Tunnel) => void
}

/** Both ends are asked now and then whether they are still there. */
const keepAliveMs = 30_000
/** After one end has said its last, the other has this long to do the same. */
const halfOpenMs = 5_000

/** A WebSocket, from its handshake on: who it belongs to is known, and it ends with the session. */
export class Tunnel implements Placed {
  place = -1
  readonly side: BrowserSide
  readonly #request: AdmittedHandshake
  readonly #deps: TunnelDeps
  #state: 'asking' | 'answered' | 'open' | 'over' = 'asking'
  #outgoing: ClientRequest | undefined
  #apiSocket: Socket | undefined
  readonly #place: StreamPlace
  #hasOpened = false
  #halfOpenTimer: NodeJS.Timeout | undefined

  constructor(request: AdmittedHandshake, deps: TunnelDeps) {
    this.#request = request
    this.#deps = deps
    this.side = new BrowserSide(request.socket)
    // From now on: handshakes that come together count together.
    this.#place = deps.streams.enter(this, request.route, request.claims)
    request.socket.on('close', () => this.#closed())
    request.socket.once('end', () => {
      // Half a connection is enough for an answer, but nobody who closes the other half wants a WebSocket.
      if (this.#state === 'asking') request.socket.destroy()
    })
  }

  get request(): AdmittedRequest {
    return this.#request
  }

  /** Of the answer, once it has begun. */
  get status(): number | undefined {
    const { res } = this.#request
    if (this.#hasOpened) return 101
    return res.headersSent ? res.statusCode : undefined
  }

  get session(): SessionIdentity | undefined {
    return this.#request.session
  }

  /** Has the library ask the API; it calls back with what it sends, and with what goes wrong. */
  start(): void {
    const { route, socket, req, sentTarget, head, handshake } = this.#request
    route.upstreamPool.waiting++
    const headers = Object.fromEntries(pairs(this.#request.headers))
    const sent = {
      method: 'GET',
      url: sentTarget,
      headers: { ...headers, ...handshake, connection: 'Upgrade', upgrade: 'websocket' },
      httpVersion: '1.1',
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      socket: req.socket,
    }
    socket.setTimeout(0)
    tunnels.set(this.side, this)
    this.side.noteHead(head)
    // All that the library reads of a request and a socket.
    route.upgrade?.(sent as unknown as IncomingMessage, this.side as unknown as Socket, head)
  }

  /** The library is about to send the handshake. */
  sending(outgoing: ClientRequest): void {
    this.#outgoing = outgoing
    const connectMs = this.#request.route.connectTimeoutSeconds * 1000
    outgoing.once('socket', (socket) => {
      if (!socket.connecting) return
      const giveUp = (): void => {
        if (socket.connecting) outgoing.destroy(new ConnectTimeoutError())
      }
      // After a process stood still, timers come before news from the network: those are heard first.
      const timer = setTimeout(() => setImmediate(giveUp), connectMs)
      for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer))
    })
    outgoing.once('upgrade', (answer: IncomingMessage, apiSocket: Socket) => this.#upgraded(answer, apiSocket))
    outgoing.once('response', (answer: IncomingMessage) => this.#refused(answer))
  }

  failed(error: Error): void {
    // A browser that is gone is no failure of the API: the end of its connection tells.
    if (this.#request.socket.destroyed) return
    if (this.#state === 'asking') this.#fail(codeOfUpstreamError(error, false), error)
    else if (this.#state === 'open') this.#deps.brokeOff(this.#request, error)
  }

  /** The session was ended, or nobody knows whether it was. */
  endSession(code: 'session_ended' | 'store_unavailable'): void {
    if (this.#state === 'asking') this.#fail(code, new Error(code))
    else this.endStream(code)
  }

  endStream(end: StreamEnd): void {
    if (this.#state === 'open') this.side.close(end)
    else if (this.#state === 'asking' && isErrorCode(end)) this.#fail(end, new Error(end))
    else this.#request.socket.destroy()
  }

  #upgraded(answer: IncomingMessage, apiSocket: Socket): void {
    this.#apiSocket = apiSocket
    const { route, socket, handshake, res } = this.#request
    if (this.#state !== 'asking' || !isAccepted(answer.headers, handshake)) {
      apiSocket.destroy()
      this.failed(new InvalidResponseError('not a WebSocket handshake'))
      return
    }
    this.#answered('open')
    route.outcomes.answer(101)
    this.#hasOpened = true
    res.detachSocket(socket)
    socket.write(headOf(101, this.#headersOf(answer, 101)), 'latin1')
    for (const each of [socket, apiSocket]) {
      each.setNoDelay(true)
      each.once('end', () => this.#halfOpen())
    }
    socket.setKeepAlive(true, keepAliveMs)
    // After the library has set its own.
    setImmediate(() => apiSocket.setKeepAlive(true, keepAliveMs))
    socket.setTimeout(route.idleTimeoutSeconds * 1000, () => this.endStream('stream_idle'))
    apiSocket.once('close', () => this.side.end())
  }

  /** The API wants no WebSocket, and says why. */
  #refused(answer: IncomingMessage): void {
    if (this.#state !== 'asking') {
      answer.destroy()
      return
    }
    const { statusCode: status = 0 } = answer
    if (status < 200 || status > 599) {
      answer.destroy()
      this.failed(new InvalidResponseError(`status ${status}`))
      return
    }
    const { res, route, socket } = this.#request
    this.#answered('answered')
    this.side.mute()
    route.outcomes.answer(status)
    res.writeHead(status, this.#headersOf(answer, status))
    socket.setTimeout(route.idleTimeoutSeconds * 1000, () => socket.destroy())
    answer.once('error', () => socket.destroy())
    answer.pipe(res)
  }

  #headersOf(answer: IncomingMessage, status: number): string[] {
    const { route, sentTarget, req, accessToken } = this.#request
    return this.#deps.responseHeaders(answer.headers, {
      route,
      sentTarget,
      origin: req.headers.origin,
      accessToken,
      status,
    })
  }

  #fail(code: ErrorCode, cause: Error): void {
    this.#answered('answered')
    this.side.mute()
    this.#deps.failed(this.#request, code, cause)
    this.#outgoing?.destroy()
  }

  #answered(state: 'answered' | 'open'): void {
    this.#state = state
    this.#request.route.upstreamPool.waiting--
  }

  #halfOpen(): void {
    this.#halfOpenTimer ??= setTimeout(() => this.#request.socket.destroy(), halfOpenMs)
  }

  #closed(): void {
    if (this.#state === 'asking') {
      this.#answered('answered')
      this.#request.route.outcomes.clientGone()
    }
    if (this.#state === 'over') return
    this.#state = 'over'
    clearTimeout(this.#halfOpenTimer)
    this.#place.leave()
    // What it still has to say may be on its way out.
    this.#apiSocket?.destroySoon()
    this.#outgoing?.destroy()
    this.#deps.ended(this)
  }
}

class ConnectTimeoutError extends Error {
  readonly code = 'ETIMEDOUT'
}

function isErrorCode(end: StreamEnd): end is StreamEnd & ErrorCode {
  return Object.hasOwn(errorCatalogue, end)
}

/** The library knows only what it was given as a socket. */
const tunnels = new WeakMap<object, Tunnel>()

export function tunnelOf(side: object): Tunnel | undefined {
  return tunnels.get(side)
}

/** The answer to a handshake, whose connection is HTTP's no more. */
function headOf(status: 101, headers: readonly string[]): string {
  const lines = pairs(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines.join('')}\r\n`
}

function pairs(flat: readonly string[]): [string, string][] {
  const found: [string, string][] = []
  for (let at = 0; at < flat.length; at += 2) found.push([flat[at] ?? '', flat[at + 1] ?? ''])
  return found
}
