import { AsyncResource } from 'node:async_hooks'

/**
 * Puts work off until the event loop has read everything that came in this turn, and then does all of it in a row. Under
 * load the processor then runs the same code ten times over, instead of fetching it anew between one socket and the next
 * (docs/decisions/0012). Work that comes alone waits for nothing.
 * @param work Must not throw.
 * @returns Takes what the work is done on.
 */
export function createBatch<Item>(work: (item: Item) => void): (item: Item) => void {
  let waiting: Item[] = []
  function doAll(): void {
    const all = waiting
    waiting = []
    for (const item of all) work(item)
  }
  return (item) => {
    if (waiting.push(item) === 1) setImmediate(doAll)
  }
}

/**
 * A batch of calls, each of which runs in the asynchronous context that it was given in.
 * @returns Takes a call that must not throw.
 */
export function createCallBatch(): (call: () => void) => void {
  const batch = createBatch<{ readonly context: AsyncResource; readonly call: () => void }>(({ context, call }) =>
    context.runInAsyncScope(call),
  )
  return (call) => batch({ context: new AsyncResource('TOKEN_HANDLER_REQUEST'), call })
}
