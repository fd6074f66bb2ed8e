import type { IncomingMessage } from 'node:http'
import { Readable, type Duplex } from 'node:stream'
import { TokenHandlerError } from '@token-handler/shared'

/** What a body has to keep to. */
export interface BodyLimits {
  /** More than this is refused with `payload_too_large`, counted on what arrives, not on what was declared. */
  readonly maxBytes: number
  /** One that {@link mayTakeLonger} goes on as long as it comes at this rate. */
  readonly minBytesPerSecond: number
}

/** The body that comes on a connection at the moment. */
const coming = new WeakMap<Duplex, RequestBody>()

/**
 * To be asked once a request has taken as long as any may: whether the body that still comes on its connection may go on.
 * It may as long as it comes fast enough, so far and in every window from now on; it is ended with `request_timeout` later.
 */
export function mayTakeLonger(socket: Duplex, windowMs: number): boolean {
  return coming.get(socket)?.takeLonger(windowMs) ?? false
}

/**
 * The body of a request on its way to the API, unbuffered and with back-pressure. It is a stream of its own because undici
 * destroys the body when an API answers early: the client's connection must outlive that to carry the answer. A client that
 * hangs up ends the whole exchange, which destroys this.
 */
export class RequestBody extends Readable {
  readonly #req: IncomingMessage
  readonly #limits: BodyLimits
  #bytes = 0
  /** When the client sent something, or was asked for more after a pause. */
  #movedAt = performance.now()
  /** Whether more is wanted of the client. */
  #isAsking = false
  #askedAt = 0
  /** How long more was wanted, and what came, since the rate was looked at. */
  #askedMs = 0
  #recentBytes = 0
  #rateTimer: NodeJS.Timeout | undefined

  constructor(req: IncomingMessage, limits: BodyLimits) {
    super()
    this.#req = req
    this.#limits = limits
    coming.set(req.socket, this)
    req.on('data', this.#onData).on('end', this.#onEnd)
    req.pause()
  }

  /** Milliseconds since the client sent something though more was wanted; 0 while nothing is. */
  get quietMs(): number {
    return this.#isAsking ? performance.now() - this.#movedAt : 0
  }

  /** See {@link mayTakeLonger}. */
  takeLonger(windowMs: number): boolean {
    if (this.#isSlow()) return false
    const look = (): void => {
      if (!this.destroyed && this.#isSlow()) this.destroy(new TokenHandlerError('request_timeout'))
    }
    // After a process stood still, timers come before news from the network: those are heard first.
    this.#rateTimer = setInterval(() => setImmediate(look), windowMs)
    return true
  }

  override _read(): void {
    if (!this.#isAsking) this.#askedAt = this.#movedAt = performance.now()
    this.#isAsking = true
    this.#req.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#isAsking = false
    this.#leave()
    this.#req.off('data', this.#onData).off('end', this.#onEnd)
    this.#req.pause()
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    this.#recentBytes += chunk.length
    this.#movedAt = performance.now()
    if (this.#bytes > this.#limits.maxBytes) this.destroy(new TokenHandlerError('payload_too_large'))
    else if (!this.push(chunk)) {
      this.#isAsking = false
      this.#askedMs += this.#movedAt - this.#askedAt
      this.#req.pause()
    }
  }

  readonly #onEnd = (): void => {
    this.#isAsking = false
    this.#leave()
    this.push(null)
  }

  /** Whether less came than has to since the last time that this was asked. Time in which the API takes nothing does not count. */
  #isSlow(): boolean {
    if (this.#isAsking) {
      const now = performance.now()
      this.#askedMs += now - this.#askedAt
      this.#askedAt = now
    }
    const isSlow = this.#recentBytes < (this.#askedMs / 1000) * this.#limits.minBytesPerSecond
    this.#askedMs = 0
    this.#recentBytes = 0
    return isSlow
  }

  /** The connection's next request has a time of its own. */
  #leave(): void {
    clearInterval(this.#rateTimer)
    const { socket } = this.#req
    if (coming.get(socket) === this) coming.delete(socket)
  }
}

/** Whether a request has a body (RFC 9112 section 6.3): without framing it has none. */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  const length = headers['content-length']
  return length !== undefined && length !== '0'
}
