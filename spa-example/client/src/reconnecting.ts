import type { TokenHandlerClient } from './client.ts'
import { deliver } from './deliver.ts'
import { SessionEndedError, TemporaryError, TokenHandlerClientError } from './errors.ts'

/** Codes that the OAuth Proxy ends a stream with. */
export type StreamEnd = 'session_ended' | 'access_token_expired' | 'stream_too_long' | 'shutting_down'

export function isStreamEnd(code: unknown): code is StreamEnd {
  return ['session_ended', 'access_token_expired', 'stream_too_long', 'shutting_down'].includes(String(code))
}

/** Where a stream stands. */
export type StreamState =
  | { readonly status: 'connecting' | 'open' }
  /** It broke off, or could not be opened, and is tried again after `waitMs`. */
  | { readonly status: 'waiting'; readonly code: string; readonly waitMs: number }
  /**
   * For good. `code`: `session_ended`, `logout`, `closed` (by `close` or the signal), `closed_by_server`, `stream_refused`,
   * or that of `error`, such as `step_up_required`. `closeCode`: with which code the server closed a WebSocket.
   */
  | { readonly status: 'closed'; readonly code: string; readonly error?: Error; readonly closeCode?: number }

export interface StreamOptions {
  readonly onState?: (state: StreamState) => void
  /** Closes the stream for good. */
  readonly signal?: AbortSignal
  /** Waits between tries, in milliseconds: doubled each time, half of it by chance. Default 1000 and 30000. */
  readonly backoffMs?: { readonly first: number; readonly most: number }
  /** Opens anew when nothing came for so long, in milliseconds. Default: never; the server's pace is its own. */
  readonly silenceMs?: number
}

/** How one connection ended. */
export interface ConnectionEnd {
  /** `refused`: the browser hides why the handshake failed. */
  readonly code: string
  /** Never again; `error` says why, if anything went wrong. */
  readonly isFinal?: boolean
  readonly error?: Error
  readonly closeCode?: number
  /** The wait that the server asked for. */
  readonly waitMs?: number | undefined
  /** The first wait that the server asked for, to be doubled at every failure. */
  readonly firstWaitMs?: number | undefined
}

/** One connection. */
export interface Attempt {
  /** Ends it from this side, whatever it is doing. */
  readonly drop: AbortSignal
  /** To be called when the connection is there. */
  readonly opened: () => void
  /** To be called at every sign of life. */
  readonly alive: () => void
}

/** A connection that lived so long starts the waits anew; a server that takes and drops at once does not. */
const STEADY_MS = 5000

/** Ends that the agent is asked about before the next try: the session may be over, or its access token. */
const ASK_AGENT = ['session_ended', 'access_token_expired', 'refused']

/**
 * Keeps a stream open for as long as the session lives: waits, refreshes and opens it again, and closes it for good when the
 * session ends, in whichever tab.
 * @param connect Runs one connection to its end; rejects only with what no other try can heal.
 * @returns closes the stream
 */
export function keepOpen(
  { internals: { store, refresher } }: TokenHandlerClient,
  { onState, signal, backoffMs = { first: 1000, most: 30_000 }, silenceMs }: StreamOptions,
  connect: (attempt: Attempt) => Promise<ConnectionEnd>,
): () => void {
  let isClosed = false
  let dropping = new AbortController()
  let wake = (): void => undefined
  let failures = 0

  const tell = (state: StreamState): void => {
    if (onState !== undefined) deliver(onState, state)
  }
  const finish = (end: Omit<ConnectionEnd, 'isFinal'>): void => {
    if (isClosed) return
    isClosed = true
    unsubscribe()
    removeEventListener('online', retryNow)
    signal?.removeEventListener('abort', close)
    dropping.abort()
    wake()
    tell({ status: 'closed', ...end })
  }
  const close = (): void => finish({ code: 'closed' })
  const retryNow = (): void => wake()
  const unsubscribe = store.subscribe(({ reason, session }) => {
    if (reason === 'logout') finish({ code: 'logout' })
    else if (!session.isLoggedIn) finish({ code: 'session_ended' })
    // Another session, perhaps of another user: what is open belongs to the old one.
    else if (reason === 'login') dropping.abort()
  })
  addEventListener('online', retryNow)
  signal?.addEventListener('abort', close)

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const run = async (): Promise<void> => {
    for (;;) {
      if (isClosed) return
      tell({ status: 'connecting' })
      await refresher.early()
      if (isClosed) return
      const since = performance.now()
      const { end, openMs } = await connectOnce()
      if (isClosed) return
      if (end.isFinal === true) {
        const { isFinal: _, ...last } = end
        return finish(last)
      }
      let { waitMs } = end
      if (openMs > STEADY_MS) failures = 0
      if (ASK_AGENT.includes(end.code)) {
        // The second time, the agent's word that the token lives does not help: the access cookie itself may be gone.
        const asked = await refresher.renew(since, failures !== 1).catch(temporaryOnly)
        waitMs ??= asked?.retryAfterSeconds === undefined ? undefined : asked.retryAfterSeconds * 1000
      }
      const first = end.firstWaitMs ?? backoffMs.first
      const longest = Math.min(Math.max(first, backoffMs.most), first * 2 ** failures)
      // Half of it by chance, so that not all browsers come back at once.
      waitMs ??= longest * (0.5 + Math.random() / 2)
      failures += 1
      if (isClosed) return
      tell({ status: 'waiting', code: end.code, waitMs })
      await pause(waitMs)
    }
  }

  const connectOnce = async (): Promise<{ end: ConnectionEnd; openMs: number }> => {
    dropping = new AbortController()
    let openedAt: number | undefined
    let silence: ReturnType<typeof setTimeout> | undefined
    const alive = (): void => {
      clearTimeout(silence)
      if (silenceMs !== undefined) silence = setTimeout(() => dropping.abort(), silenceMs)
    }
    const opened = (): void => {
      openedAt = performance.now()
      alive()
      tell({ status: 'open' })
    }
    const end = await connect({ drop: dropping.signal, opened, alive }).finally(() => clearTimeout(silence))
    return { end, openMs: openedAt === undefined ? 0 : performance.now() - openedAt }
  }

  // Not before the caller has what this function returns.
  void Promise.resolve()
    .then(run)
    .catch((error: Error) => finish({ code: codeOf(error), error }))
  if (signal?.aborted === true) close()
  return close
}

function codeOf(error: Error): string {
  if (error instanceof SessionEndedError) return 'session_ended'
  return error instanceof TokenHandlerClientError ? error.code : 'internal_error'
}

function temporaryOnly(error: unknown): TemporaryError {
  if (error instanceof TemporaryError) return error
  throw error
}
