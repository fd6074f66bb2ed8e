import { LoadConnection } from './load-connection.ts'

export interface LoadLimits {
  readonly seconds: number
  /** Goes on after its time until so many are answered. */
  readonly minRequests: number
}

export interface LoadResult {
  readonly requests: number
  readonly seconds: number
}

export interface LatencyResult extends LoadResult {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Open connections to one contender and the requests that take turns on them. */
export class Load {
  readonly #connections: readonly LoadConnection[]
  readonly #requests: readonly Buffer[]
  #next: number

  /** @param first Index of the first request; a later load goes on where this one stopped ({@link Load.next}). */
  constructor(connections: readonly LoadConnection[], requests: readonly Buffer[], first: number) {
    this.#connections = connections
    this.#requests = requests
    this.#next = first
  }

  static async open(port: number, connections: number, requests: readonly Buffer[], first: number): Promise<Load> {
    const opened = await Promise.all(Array.from({ length: connections }, () => LoadConnection.open(port)))
    return new Load(opened, requests, first)
  }

  get next(): number {
    return this.#next
  }

  /** As fast as the contender answers: each connection sends its next request when the last one is answered. */
  saturate({ seconds, minRequests }: LoadLimits): Promise<LoadResult> {
    return new Promise((resolve, reject) => {
      const start = performance.now()
      const end = start + seconds * 1000
      let requests = 0
      let busy = this.#connections.length
      for (const connection of this.#connections) {
        connection.listen(() => {
          requests++
          const now = performance.now()
          if (now < end || requests + busy <= minRequests) connection.send(this.#take())
          else if (--busy === 0) resolve({ requests, seconds: (now - start) / 1000 })
        }, reject)
        connection.send(this.#take())
      }
    })
  }

  /**
   * At a given rate. What is due and finds no idle connection waits for one, and its latency counts from when it was due,
   * so that a slow answer is not hidden by the requests that it held up.
   */
  pace({ seconds, minRequests }: LoadLimits, requestsPerSecond: number): Promise<LatencyResult> {
    return new Promise((resolve, reject) => {
      const total = Math.max(minRequests, Math.round(seconds * requestsPerSecond))
      const start = performance.now()
      const latencies: number[] = []
      const idle = [...this.#connections]
      const dueAt = new Map<LoadConnection, number>()
      let sent = 0
      const sendDue = (): void => {
        const now = performance.now()
        while (sent < total && idle.length > 0) {
          const due = start + (sent * 1000) / requestsPerSecond
          if (due > now) break
          const connection = idle.pop()
          if (connection === undefined) break
          sent++
          dueAt.set(connection, due)
          connection.send(this.#take())
        }
      }
      // A millisecond's requests leave at once, as a page's do.
      const timer = setInterval(sendDue, 1)
      for (const connection of this.#connections) {
        connection.listen(
          () => {
            const now = performance.now()
            latencies.push(now - (dueAt.get(connection) ?? now))
            idle.push(connection)
            if (latencies.length < total) return
            clearInterval(timer)
            latencies.sort((a, b) => a - b)
            resolve({
              requests: total,
              seconds: (now - start) / 1000,
              p50Ms: latencies[Math.floor(total * 0.5)] ?? 0,
              p99Ms: latencies[Math.floor(total * 0.99)] ?? 0,
            })
          },
          (error) => {
            clearInterval(timer)
            reject(error)
          },
        )
      }
    })
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  #take(): Buffer {
    const request = this.#requests[this.#next]
    this.#next = (this.#next + 1) % this.#requests.length
    if (request === undefined) throw new RangeError('there is no request to send')
    return request
  }
}
