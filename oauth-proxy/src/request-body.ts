import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { TokenHandlerError } from '@token-handler/shared'

/**
 * The body of a request on its way to the API, unbuffered and with back-pressure. It is a stream of its own because undici
 * destroys the body when an API answers early: the client's connection must outlive that to carry the answer.
 */
export class RequestBody extends Readable {
  readonly #req: IncomingMessage
  readonly #maxBytes: number
  #bytes = 0

  /** @param maxBytes More than this is refused with `payload_too_large`, counted on what arrives, not on what was declared. */
  constructor(req: IncomingMessage, maxBytes: number) {
    super()
    this.#req = req
    this.#maxBytes = maxBytes
    req.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
    req.pause()
  }

  override _read(): void {
    this.#req.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#req.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.#req.pause()
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    if (this.#bytes > this.#maxBytes) this.destroy(new TokenHandlerError('payload_too_large'))
    else if (!this.push(chunk)) this.#req.pause()
  }

  readonly #onEnd = (): void => {
    this.push(null)
  }

  readonly #onClose = (): void => {
    if (!this.#req.complete) this.destroy(new ClientGoneError())
  }
}

/** The client hung up before its request was complete; there is nobody to answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'
}

/** Whether a request has a body (RFC 9112 section 6.3): without framing it has none. */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  const length = headers['content-length']
  return length !== undefined && length !== '0'
}
