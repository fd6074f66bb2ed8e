import type { IncomingHttpHeaders } from 'node:http'
import type { StreamEnd } from './websocket-frames.ts'

/** Whether an answer is an event stream (HTML standard, "Server-sent events"). */
export function isEventStream({ 'content-type': type }: IncomingHttpHeaders): boolean {
  return type !== undefined && /^text\/event-stream\s*(?:;|$)/i.test(type)
}

const longestEnd = 4

/** Follows the end of an event stream: only behind a blank line may another event begin. */
export class EventBoundary {
  #tail = ''
  readonly #takesMore: boolean

  constructor({ 'content-encoding': coding, 'content-length': length }: IncomingHttpHeaders) {
    // Nothing can be written into a compressed stream, nor into one whose length is known.
    this.#takesMore = coding === undefined && length === undefined
  }

  pass(chunk: Buffer): void {
    this.#tail = (this.#tail + chunk.subarray(-longestEnd).toString('latin1')).slice(-longestEnd)
  }

  get isHere(): boolean {
    return this.#takesMore && (this.#tail === '' || /(?:\n\n|\r\r|\r\n\r\n|\n\r\n)$/.test(this.#tail))
  }
}

/** The last event of a stream that we end. */
export function lastEvent(end: StreamEnd): string {
  return `event: ${end}\ndata: ${JSON.stringify({ code: end })}\n\n`
}
