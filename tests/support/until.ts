import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits until something is true, looking every 20 ms.
 * @param what For the error; a function is asked at the deadline
 * @throws Error after the deadline, by default 15 s.
 */
export async function until(
  what: string | (() => string),
  isTrue: () => boolean | Promise<boolean>,
  { timeoutMs = 15_000 }: { timeoutMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await isTrue())) {
    if (performance.now() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()}: not within ${timeoutMs} ms`)
    }
    await sleep(20)
  }
}
