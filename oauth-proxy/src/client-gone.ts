import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Whether nobody waits for an answer any more; writing one would be an error, and asking an API for it a waste. */
export function isClientGone(req: IncomingMessage, res: ServerResponse): boolean {
  return res.destroyed || req.socket.destroyed
}

/** What is to be told of an answer that waits behind another one on its connection. */
const queued = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls back when an answer is over, or its connection: perhaps more than once.
 *
 * Node itself tells an answer whose turn has not come (pipelining) nothing of the end of its connection once a CONNECT or an
 * upgrade has come behind it.
 */
export function onClientGone(req: IncomingMessage, res: ServerResponse, gone: () => void): void {
  res.on('close', gone)
  if (res.socket !== null) return
  const { socket } = req
  const others = queued.get(socket)
  const all = others ?? new Set()
  all.add(gone)
  res.on('close', () => all.delete(gone))
  if (others !== undefined) return
  queued.set(socket, all)
  socket.on('close', () => {
    for (const each of all) each()
  })
}
