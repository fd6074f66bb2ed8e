import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Above all ports that browsers and `fetch` refuse, and below those that systems give to outgoing connections. */
const lowest = 10_100
const highest = 30_000

const given = new Set<number>()

/**
 * A port that was free a moment ago, for programs that cannot tell which one they took. No connection of somebody else gets
 * it meanwhile, as it may one that the system itself has chosen.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(lowest, highest)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  try {
    await once(probe.listen(port, '127.0.0.1'), 'listening')
  } catch {
    return false
  }
  probe.close()
  await once(probe, 'close')
  return true
}
