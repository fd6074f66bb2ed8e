/** Close codes of ours: 4401 in the likeness of HTTP's 401, 4408 of 408; the others are RFC 6455 section 7.4.1's. */
const closeCodes = {
  session_ended: 4401,
  access_token_expired: 4401,
  stream_too_long: 4408,
  stream_idle: 4408,
  shutting_down: 1001,
  store_unavailable: 1013,
} as const

/** Why a stream is ended from our side. */
export type StreamEnd = keyof typeof closeCodes

/**
 * A whole close frame (RFC 6455 section 5.5.1) whose reason is the code's name.
 * @param isMasked Towards an API, as a client must; the key is zero, for nothing in it is secret or chosen by anybody.
 */
export function closeFrame(end: StreamEnd, isMasked: boolean): Buffer {
  const code = Buffer.alloc(2)
  code.writeUInt16BE(closeCodes[end])
  const payload = Buffer.concat([code, Buffer.from(end)])
  const head = [0x88, payload.length | (isMasked ? 0x80 : 0)]
  return Buffer.concat([Buffer.from(head), ...(isMasked ? [Buffer.alloc(4)] : []), payload])
}

const closeOpcode = 0x8

/** Longest head of a frame: two bytes, eight of length, four of masking key. */
const longestHead = 14

/**
 * Follows one direction of a WebSocket to know where a frame ends: only there may another one begin. It changes nothing,
 * and believes whatever lengths it finds.
 */
export class FrameTracker {
  readonly #head = Buffer.alloc(longestHead)
  #headBytes = 0
  /** Bytes of the payload that are still to come. */
  #left = 0
  #hasClosed = false

  /** Whether a close frame has begun: nothing may follow it (RFC 6455 section 5.5.1). */
  get hasClosed(): boolean {
    return this.#hasClosed
  }

  /** Whether nothing of a frame has come, or all of it. */
  get isAtBoundary(): boolean {
    return this.#headBytes === 0 && this.#left === 0
  }

  /** @returns Index of the first boundary in or behind `chunk`, given where it came; `undefined` when there is none. */
  firstBoundary(chunk: Uint8Array): number | undefined {
    if (this.isAtBoundary) return 0
    return this.#follow(chunk, true)
  }

  /** Takes note of bytes that were passed on. */
  pass(chunk: Uint8Array): void {
    this.#follow(chunk, false)
  }

  #follow(chunk: Uint8Array, stopsAtBoundary: boolean): number | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        at += taken
      } else {
        this.#head[this.#headBytes++] = chunk[at++] ?? 0
        if (this.#headBytes === headLength(this.#head, this.#headBytes)) {
          this.#left = payloadLength(this.#head)
          this.#headBytes = 0
          if (((this.#head[0] ?? 0) & 0x0f) === closeOpcode) this.#hasClosed = true
        }
      }
      if (stopsAtBoundary && this.isAtBoundary) return at
    }
    return undefined
  }
}

/** Bytes of a frame's head, as far as its first two bytes tell (RFC 6455 section 5.2). */
function headLength(head: Buffer, known: number): number {
  if (known < 2) return 2
  const second = head[1] ?? 0
  const length = second & 0x7f
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + ((second & 0x80) === 0 ? 0 : 4)
}

function payloadLength(head: Buffer): number {
  const length = (head[1] ?? 0) & 0x7f
  if (length === 126) return head.readUInt16BE(2)
  // More than 2^53 bytes never come: it makes no difference that this is not exact.
  return length === 127 ? Number(head.readBigUInt64BE(2)) : length
}
