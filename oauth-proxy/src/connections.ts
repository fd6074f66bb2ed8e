import type { EventEmitter } from 'node:events'
import { errors, type Client, type Dispatcher } from 'undici'

/** undici's, and it is told errors without a controller too, where nothing was sent. */
export interface ResponseHandler extends Omit<Dispatcher.DispatchHandler, 'onResponseError'> {
  onResponseError(controller: Dispatcher.DispatchController | null, error: Error): void
}

/**
 * The connections to one API. Each carries one request at a time, and there are as many as there are requests under way.
 *
 * undici's own pool looks for a free connection among all of them, twice a request, and event streams that keep theirs for
 * hours stand first. Here the free ones are kept apart: finding one costs the same however many streams are open.
 */
export class Connections {
  readonly #open: () => Client
  readonly #failed: (error: Error) => void
  readonly #all: Client[] = []
  /** The last one was used last, and is the least likely to be closed at this moment. */
  readonly #free: Client[] = []
  #isClosed = false

  /**
   * @param open Makes a client that sends one request at a time.
   * @param failed Is told what a handler threw when it was told of an error. That ends its request, and nothing else.
   */
  constructor(open: () => Client, failed: (error: Error) => void) {
    this.#open = open
    this.#failed = failed
  }

  /** Sends a request; errors are told to `handler` alone. */
  dispatch(options: Dispatcher.DispatchOptions, handler: ResponseHandler): void {
    if (this.#isClosed) handler.onResponseError(null, new errors.ClientClosedError())
    else (this.#free.pop() ?? this.#add()).dispatch(options, handler)
  }

  /** Takes no more requests, lets those under way end for a while, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    const timer = setTimeout(() => {
      for (const client of this.#all) void client.destroy()
    }, graceMs)
    try {
      await Promise.all(this.#all.map((client) => client.close()))
    } finally {
      clearTimeout(timer)
    }
  }

  #add(): Client {
    const client = this.#open()
    this.#all.push(client)
    // Without a listener it would end the process. undici's types do not know it.
    ;(client as EventEmitter).on('error', this.#failed)
    // Told once after each request, whatever became of it: the client can take another one.
    client.on('drain', () => this.#free.push(client))
    return client
  }
}
