import { once } from 'node:events'
import type { Server } from 'node:http'

const idleSweepMs = 100

/** Resolves when the server listens, rejects when it cannot. */
export async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

/** Host and port, for whoever let the system choose the port. */
export function addressOf(server: Server): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return bound ?? ''
  return `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
}

/** Takes no new connections, lets open requests finish for a while, then cuts what is left. */
export async function drain(server: Server, graceMs: number): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  // A connection whose last request ends only now is kept alive by gateways for as long as they like.
  const sweep = setInterval(() => server.closeIdleConnections(), idleSweepMs)
  const timer = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearInterval(sweep)
  clearTimeout(timer)
}
