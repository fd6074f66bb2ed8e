import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** Stands before a server as its public address: it can hold the server's answers back, or be away altogether. */
export interface Relay {
  readonly origin: string
  /** Where to; connections before that are cut. */
  target: number | undefined
  /** Keeps what the server says from now on. @returns lets it through */
  hold(): () => void
  close(): Promise<void>
}

export async function startRelay(): Promise<Relay> {
  const sockets = new Set<Socket>()
  let held: (() => void)[] | undefined
  const server = createServer((client) => {
    const { target } = relay
    client.on('error', () => client.destroy())
    sockets.add(client)
    client.on('close', () => sockets.delete(client))
    if (target === undefined) {
      client.destroy()
      return
    }
    const upstream = connect(target, '127.0.0.1')
    upstream.on('error', () => client.destroy())
    upstream.on('close', () => client.end())
    client.on('close', () => upstream.destroy())
    client.pipe(upstream)
    upstream.on('data', (chunk) => {
      const pass = (): void => void client.write(chunk)
      if (held === undefined) pass()
      else held.push(pass)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const relay: Relay = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target: undefined,
    hold() {
      held = []
      return () => {
        for (const pass of held ?? []) pass()
        held = undefined
      }
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  return relay
}
