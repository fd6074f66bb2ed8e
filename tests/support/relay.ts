import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP port in front of a server, for what happens to networks. */
export interface Relay {
  readonly port: number
  /** New connections go there from now on; those that exist are cut, as in a failover. */
  leadTo(port: number): void
  /** Bytes get stuck, both ways; connections stay. */
  hold(): void
  release(): void
  close(): Promise<void>
}

export async function startRelay(target: number): Promise<Relay> {
  let port = target
  let isHeld = false
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    const pair = [near, far] as const
    pairs.add(pair)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (bytes) => to.write(bytes))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
      if (isHeld) from.pause()
    }
  })
  const cut = (): void => {
    for (const [near] of pairs) near.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    leadTo(next) {
      port = next
      cut()
    },
    hold() {
      isHeld = true
      for (const pair of pairs) for (const socket of pair) socket.pause()
    },
    release() {
      isHeld = false
      for (const pair of pairs) for (const socket of pair) socket.resume()
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      cut()
      await closed
    },
  }
}
