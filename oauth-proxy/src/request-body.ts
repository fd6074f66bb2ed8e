import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { TokenHandlerError } from '@token-handler/shared'

/**
 * The body of a request on its way to the API, unbuffered and with back-pressure. It is a stream of its own because undici
 * destroys the body when an API answers early: the client's connection must outlive that to carry the answer. A client that
 * hangs up ends the whole exchange, which destroys this.
 */
export class RequestBody extends Readable {
  readonly #req: IncomingMessage
  readonly #maxBytes: number
  #bytes = 0
  /** When the client sent something, or was asked for more after a pause. */
  #movedAt = performance.now()
  /** Whether more is wanted of the client. */
  #isAsking = false

  /** @param maxBytes More than this is refused with `payload_too_large`, counted on what arrives, not on what was declared. */
  constructor(req: IncomingMessage, maxBytes: number) {
    super()
    this.#req = req
    this.#maxBytes = maxBytes
    req.on('data', this.#onData).on('end', this.#onEnd)
    req.pause()
  }

  /** Milliseconds since the client sent something though more was wanted; 0 while nothing is. */
  get quietMs(): number {
    return this.#isAsking ? performance.now() - this.#movedAt : 0
  }

  override _read(): void {
    if (!this.#isAsking) this.#movedAt = performance.now()
    this.#isAsking = true
    this.#req.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#isAsking = false
    this.#req.off('data', this.#onData).off('end', this.#onEnd)
    this.#req.pause()
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    this.#movedAt = performance.now()
    if (this.#bytes > this.#maxBytes) this.destroy(new TokenHandlerError('payload_too_large'))
    else if (!this.push(chunk)) {
      this.#isAsking = false
      this.#req.pause()
    }
  }

  readonly #onEnd = (): void => {
    this.#isAsking = false
    this.push(null)
  }
}

/** Whether a request has a body (RFC 9112 section 6.3): without framing it has none. */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  const length = headers['content-length']
  return length !== undefined && length !== '0'
}
