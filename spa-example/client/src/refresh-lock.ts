/** Runs `work` while no other tab of this browser runs work under the same lock. */
export type RefreshLock = <T>(work: () => Promise<T>) => Promise<T>

/** Web Locks where there are any, else an election over BroadcastChannel. */
export function createRefreshLock(name: string): RefreshLock {
  // The DOM types promise `locks` always; Safari before 15.4 and pages outside a secure context have none.
  const locks = (navigator as { locks?: LockManager }).locks
  return locks === undefined ? channelLock(name) : (work) => locks.request(name, work)
}

/** How long a claim waits for an objection. Messages, unlike timers, are not throttled in hidden tabs. */
const CLAIM_MS = 100
/** When the holder is taken for dead: it repeats its objection three times as often. */
const SILENCE_MS = 3000

type LockMessage = readonly ['claim' | 'busy' | 'held' | 'free', number]

/**
 * Best effort, for browsers without Web Locks: a tab claims the lock and takes it when nobody objects within 100 ms.
 * The holder objects to every claim (`held`), a claimant to those with a higher number than its own (`busy`). Two tabs may
 * hold it in rare cases (a frozen tab objects too late); the agent's own single flight makes that harmless.
 */
function channelLock(name: string): RefreshLock {
  return async (work) => {
    const channel = new BroadcastChannel(`${name}/lock`)
    const ticket = Math.random()
    let heard: LockMessage[0] | undefined
    let wake: (() => void) | undefined
    let holding = false
    // oxlint-disable-next-line require-post-message-target-origin -- a BroadcastChannel reaches its own origin only
    const say = (kind: LockMessage[0]): void => channel.postMessage([kind, ticket] satisfies LockMessage)
    channel.addEventListener('message', ({ data: [kind, other] }: MessageEvent<LockMessage>) => {
      if (kind === 'claim') {
        if (holding) say('held')
        else if (other > ticket) say('busy')
      } else if (kind !== 'busy' || other < ticket) {
        heard = kind
        wake?.()
      }
    })
    const news = (ms: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    let beat: ReturnType<typeof setInterval> | undefined
    try {
      for (;;) {
        heard = undefined
        say('claim')
        await news(CLAIM_MS)
        if (heard === undefined) break
        while (heard !== undefined && heard !== 'free') {
          heard = undefined
          await news(SILENCE_MS)
        }
      }
      holding = true
      beat = setInterval(say, SILENCE_MS / 3, 'held')
      return await work()
    } finally {
      clearInterval(beat)
      say('free')
      channel.close()
    }
  }
}
