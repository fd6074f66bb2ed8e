import { openTabChannel } from './tab-channel.ts'

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
/** When the holder is taken for dead: it says three times as often that it is there. */
const SILENCE_MS = 3000

type Word = 'claim' | 'busy' | 'held' | 'free'
type LockMessage = readonly [Word, number]

/**
 * Best effort, for browsers without Web Locks: a tab claims the lock twice and takes it when nobody objects either time.
 * The holder objects to every claim (`held`); of two claimants the one with the higher number yields (`busy`). Two tabs
 * may hold it in rare cases (a stalled tab objects too late); the agent's own single flight makes that harmless.
 */
function channelLock(name: string): RefreshLock {
  return async (work) => {
    const ticket = Math.random()
    let hear: ((word: Word) => void) | undefined
    let holding = false
    const channel = openTabChannel<LockMessage>(`${name}/lock`, ([word, other]) => {
      const isWeaker = other > ticket
      if (holding && word === 'claim') say('held')
      else if (word === 'claim' && isWeaker) say('busy')
      else if (!isWeaker || word === 'held' || word === 'free') hear?.(word)
    })
    const say = (word: Word): void => channel.post([word, ticket])
    /** The next word that concerns this tab, or undefined when it is silent so long. */
    const news = (ms: number): Promise<Word | undefined> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms, undefined)
        hear = (word) => {
          clearTimeout(timer)
          resolve(word)
        }
      })
    let beat: ReturnType<typeof setInterval> | undefined
    try {
      for (let silences = 0; silences < 2;) {
        say('claim')
        let heard = await news(CLAIM_MS)
        silences = heard === undefined ? silences + 1 : 0
        while (heard !== undefined && heard !== 'free') heard = await news(SILENCE_MS)
      }
      holding = true
      say('held')
      beat = setInterval(say, SILENCE_MS / 3, 'held')
      return await work()
    } finally {
      clearInterval(beat)
      say('free')
      channel.close()
    }
  }
}
