import { buildConnector, Client } from 'undici'
import { Connections } from './connections.ts'
import { Uploads } from './uploads.ts'
import type { RouteOptions, UpstreamTls } from './options.ts'

/** The connections to one API, and how many requests wait there for the beginning of an answer. */
export interface Upstream {
  readonly connections: Connections
  /** Scheme, host and port. */
  readonly origin: string
  /** Requests that were sent, and whose answer has not begun. */
  waiting: number
  readonly uploads: Uploads
}

/**
 * Idle connections are closed before servers usually do it (5 s in Node), so that a request rarely meets one that is
 * closing; undici also heeds what the server says in `Keep-Alive`.
 */
const keepAliveMs = 4_000

/** All connections to APIs. Routes with the same origin, TLS settings and connect timeout share theirs. */
export class Upstreams {
  readonly #upstreams = new Map<string, Upstream>()
  readonly #failed: (error: Error) => void

  /** @param failed See {@link Connections}. */
  constructor(failed: (error: Error) => void) {
    this.#failed = failed
  }

  /** @throws TypeError when `upstream` is more or less than an http or https origin. */
  of({ upstream, upstreamTls, connectTimeoutSeconds }: RouteOptions): Upstream {
    const { origin, protocol, href } = new URL(upstream)
    if (!/^https?:$/.test(protocol) || href !== `${origin}/`) {
      throw new TypeError('upstream must be an http or https origin: scheme, host and port only')
    }
    const key = JSON.stringify([origin, connectTimeoutSeconds, upstreamTls])
    const known = this.#upstreams.get(key)
    if (known !== undefined) return known
    const connections = connectionsTo(origin, connectTimeoutSeconds, upstreamTls, this.#failed)
    const created: Upstream = { connections, origin, waiting: 0, uploads: new Uploads() }
    this.#upstreams.set(key, created)
    return created
  }

  /** Requests whose answer has not begun, by the origin of their API. */
  waiting(): ReadonlyMap<string, number> {
    const byOrigin = new Map<string, number>()
    for (const { origin, waiting } of this.#upstreams.values()) {
      byOrigin.set(origin, (byOrigin.get(origin) ?? 0) + waiting)
    }
    return byOrigin
  }

  /** Lets running requests end for a while, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#upstreams.values()].map(({ connections }) => connections.close(graceMs)))
  }
}

/**
 * The number of connections has no cap, for an event stream keeps one each for hours: with a cap, streams would end up
 * holding all of them and requests would wait for ever. What is bounded is the number of requests without an answer, and of bodies under way.
 */
function connectionsTo(
  origin: string,
  connectTimeoutSeconds: number,
  tls: UpstreamTls | undefined,
  failed: (error: Error) => void,
): Connections {
  // One for all of them: it remembers TLS sessions.
  const connect = buildConnector({ allowH2: false, timeout: connectTimeoutSeconds * 1000, ...tls })
  return new Connections(
    () => new Client(origin, { connect, pipelining: 1, allowH2: false, keepAliveTimeout: keepAliveMs }),
    failed,
  )
}
