import type { AccessCookieClaims, Clock, ErrorCode } from '@token-handler/shared'
import type { RouteOptions, StreamLimitOptions } from './options.ts'
import type { StreamEnd } from './websocket-frames.ts'

/** An answer without an end: an event stream, or a WebSocket. */
export interface LiveStream {
  /** Ends it from our side, in the way that its protocol has for that. Does nothing when it is over. */
  endStream(end: StreamEnd): void
}

/** A stream's place among those that may be open, and the timer of its end. */
export interface StreamPlace {
  /** Gives the place back; to be called once. */
  leave(): void
}

export interface OpenStreamsDeps {
  readonly limits: StreamLimitOptions
  /** Longest session: no stream of it lives on. */
  readonly absoluteSeconds: number | undefined
  readonly clock: Clock
}

/** A timer cannot wait longer. */
const longestTimerMs = 2_147_483_647

/**
 * The streams that are open: each has an end that is known at its beginning, and there is a limit on how many there are,
 * of one session and of all. What ends a session ends them earlier (docs/streams.md).
 */
export class OpenStreams {
  readonly #deps: OpenStreamsDeps
  readonly #perSession = new Map<string, number>()
  readonly #open = new Set<LiveStream>()
  #isStopping = false

  constructor(deps: OpenStreamsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#open.size
  }

  /** @returns The code of the refusal when there are too many. */
  refuse(
    sid: string | undefined,
  ): Extract<ErrorCode, 'too_many_streams' | 'streams_exhausted' | 'shutting_down'> | undefined {
    if (this.#isStopping) return 'shutting_down'
    const { perSession, total } = this.#deps.limits
    if (this.#open.size >= total) return 'streams_exhausted'
    return sid !== undefined && (this.#perSession.get(sid) ?? 0) >= perSession ? 'too_many_streams' : undefined
  }

  enter(stream: LiveStream, route: RouteOptions, claims: AccessCookieClaims | undefined): StreamPlace {
    const sid = claims?.sid
    this.#open.add(stream)
    if (sid !== undefined) this.#perSession.set(sid, (this.#perSession.get(sid) ?? 0) + 1)
    const last = this.#endOf(route, claims)
    const timer = last && setTimeout(() => stream.endStream(last.end), Math.min(last.afterMs, longestTimerMs))
    return {
      leave: () => {
        clearTimeout(timer)
        this.#open.delete(stream)
        if (sid === undefined) return
        const left = (this.#perSession.get(sid) ?? 1) - 1
        if (left === 0) this.#perSession.delete(sid)
        else this.#perSession.set(sid, left)
      },
    }
  }

  /** Ends all, for the process stops: there will be no more. */
  stop(): void {
    this.#isStopping = true
    for (const stream of this.#open) stream.endStream('shutting_down')
  }

  /** What ends a stream at the latest: the first of the session's deadline, its token's expiry and the route's limit. */
  #endOf(
    { streams }: RouteOptions,
    claims: AccessCookieClaims | undefined,
  ): { readonly end: StreamEnd; readonly afterMs: number } | undefined {
    const { clock, absoluteSeconds } = this.#deps
    const now = clock.now()
    const ends: { end: StreamEnd; afterMs: number }[] = []
    if (claims !== undefined && absoluteSeconds !== undefined) {
      ends.push({ end: 'session_ended', afterMs: claims.sst + absoluteSeconds * 1000 - now })
    }
    if (claims !== undefined && streams?.atTokenExpiry === 'close') {
      ends.push({ end: 'access_token_expired', afterMs: claims.exp * 1000 - now })
    }
    if (streams?.maxDurationSeconds !== undefined) {
      ends.push({ end: 'stream_too_long', afterMs: streams.maxDurationSeconds * 1000 })
    }
    return ends.toSorted((a, b) => a.afterMs - b.afterMs)[0]
  }
}
