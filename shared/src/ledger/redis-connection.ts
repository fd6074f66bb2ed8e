import { createHash } from 'node:crypto'
import type { createClient } from '@redis/client'

/** The client's library. It is large: who has no Redis does not load it. */
export interface RedisLibrary {
  readonly createClient: typeof createClient
}

export interface RedisEndpoint {
  readonly url: string
  /** PEM of the authority to trust, in place of the well-known ones. */
  readonly ca?: string | undefined
}

export interface RedisConnection {
  /**
   * Sends one command.
   * @param timeoutMs Within this the answer is there, or the connection is given up and made anew.
   * @throws RedisFailure whatever goes wrong.
   */
  command(args: readonly string[], timeoutMs?: number): Promise<unknown>
  /** Runs a script by its hash, and sends its text where the server does not know it. */
  script(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown>
  close(): void
}

export interface RedisScript {
  readonly text: string
  readonly sha: string
}

export function redisScript(text: string): RedisScript {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** The server was not reached, did not answer in time, or refused. */
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure'
  /** `timeout`, `offline`, or the code of the server's answer in lower case, such as `oom` or `noperm`. */
  readonly reason: string

  constructor(reason: string, cause?: unknown) {
    super(`Redis: ${reason}`, { cause })
    this.reason = reason
  }
}

/** Well below a second, so that a caller who needs two commands still has his answer in about one. */
const answerMs = 700
/** Answers after which another server may have become the one to ask. */
const movedReasons = new Set(['readonly', 'moved', 'masterdown'])

export interface ConnectionEvents {
  /** Connected and authenticated, for the first time or again. */
  ready(): void
  /** Not connected; it is being tried again. */
  lost(failure: RedisFailure): void
}

/**
 * A connection that mends itself. Nothing is queued while it is down: an answer that comes late is worth less than a
 * quick "unknown".
 * @param isBlocking For commands that wait at the server: no pings then, which would wait behind them.
 */
export function connectRedis(
  library: RedisLibrary,
  endpoint: RedisEndpoint,
  { events, isBlocking = false }: { events?: ConnectionEvents; isBlocking?: boolean } = {},
): RedisConnection {
  let isClosed = false
  let client = start()

  function start(): Client {
    const started = newClient(library, endpoint, isBlocking)
    started.on('ready', () => {
      // One that was given up while it was connecting does not notice.
      if (started !== client || isClosed) started.destroy()
      else events?.ready()
    })
    started.on('error', (error: unknown) => {
      if (started === client && !isClosed) events?.lost(failureOf(error))
    })
    started.connect().catch(() => {
      // Told by the error event, and tried again.
    })
    return started
  }

  /** Drops everything under way and connects anew. */
  function restart(used: Client, failure: RedisFailure): void {
    if (used !== client || isClosed) return
    used.destroy()
    client = start()
    events?.lost(failure)
  }

  async function command(args: readonly string[], timeoutMs = answerMs): Promise<unknown> {
    const used = client
    let timer: NodeJS.Timeout | undefined
    const reply = used.sendCommand(args)
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new RedisFailure('timeout')), timeoutMs)
    })
    try {
      return await Promise.race([reply, late])
    } catch (error) {
      const failure = failureOf(error)
      reply.catch(() => {
        // Its end was told already.
      })
      if (failure.reason === 'timeout' || movedReasons.has(failure.reason)) restart(used, failure)
      throw failure
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    command,
    async script({ text, sha }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args]
      try {
        return await command(['EVALSHA', sha, ...rest])
      } catch (error) {
        if (!(error instanceof RedisFailure) || error.reason !== 'noscript') throw error
        return command(['EVAL', text, ...rest])
      }
    },
    close() {
      isClosed = true
      client.destroy()
    },
  }
}

type Client = ReturnType<typeof newClient>

function newClient(library: RedisLibrary, { url, ca }: RedisEndpoint, isBlocking: boolean) {
  const socket = {
    connectTimeout: 1000,
    // Notices a hung server while nothing is sent; each command has its own limit, for sending restarts this one.
    socketTimeout: isBlocking ? 3000 : 500,
    reconnectStrategy: (retries: number) => Math.min(50 * 2 ** retries, 1000),
  }
  return library.createClient({
    url,
    RESP: 2,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    ...(isBlocking ? {} : { pingInterval: 200 }),
    socket:
      new URL(url).protocol === 'rediss:' ? { ...socket, tls: true, ...(ca === undefined ? {} : { ca }) } : socket,
  })
}

/** Errors of the server begin with a code in capitals (RESP specification, "Simple errors"). */
function failureOf(error: unknown): RedisFailure {
  if (error instanceof RedisFailure) return error
  const { name, message = '' } = error as Partial<Error>
  const [code = ''] = /^[A-Z]+(?= )/.exec(message) ?? []
  if (code !== '') return new RedisFailure(code.toLowerCase(), error)
  return new RedisFailure(name?.startsWith('SocketTimeout') === true ? 'timeout' : 'offline', error)
}
