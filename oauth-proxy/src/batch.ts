import { AsyncResource } from 'node:async_hooks'

/** Must not throw. */
type Work = () => void

/**
 * Puts work off until the event loop has read everything that came in this turn, and then does all of it in a row. Under
 * load the processor then runs the same code ten times over, instead of fetching it anew between one socket and the next:
 * measured, about a tenth of the CPU time of a request. Work that comes alone waits for nothing.
 * @returns Takes a piece of work, which runs in the asynchronous context that it was given in.
 */
export function createBatch(): (work: Work) => void {
  let waiting: { readonly context: AsyncResource; readonly work: Work }[] = []
  function doAll(): void {
    const all = waiting
    waiting = []
    for (const { context, work } of all) context.runInAsyncScope(work)
  }
  return (work) => {
    const waits = waiting.push({ context: new AsyncResource('TOKEN_HANDLER_REQUEST'), work })
    if (waits === 1) setImmediate(doAll)
  }
}
