import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { withinRunningTime } from '../../oauth-agent/src/running-time.ts'

/** What a stopped process sees: nothing at all for a while, then everything at once. */
function stop(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

describe('a limit in running time', () => {
  it('leaves a process that was stopped for longer the time to read the answer', async () => {
    const answer = await withinRunningTime(0.4, async (signal) => {
      stop(1000)
      // Whatever is due runs now, timers first.
      await turn()
      await turn()
      return signal.aborted ? 'given up' : 'read'
    })
    expect(answer).toBe('read')
  })

  it('ends the wait of a process that runs', async () => {
    const reason = withinRunningTime(0.05, async (signal) => {
      await once(signal, 'abort')
      throw signal.reason
    })
    await expect(reason).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('is over with the work', async () => {
    const signal = await withinRunningTime(0.05, async (one) => one)
    await withinRunningTime(0.1, (later) => once(later, 'abort'))
    expect(signal.aborted).toBe(false)
  })
})
