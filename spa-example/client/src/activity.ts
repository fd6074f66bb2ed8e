import { openTabChannel } from './tab-channel.ts'

/** Whether anybody did anything since the last refresh, in whichever tab: what the agent's idle deadline goes by. */
export interface Activity {
  note(): void
  /** Tells it once: whoever takes it, reports it. */
  take(): boolean
  close(): void
}

export function createActivity(name: string): Activity {
  let active = false
  const channel = openTabChannel<boolean>(`${name}/activity`, (now) => {
    active = now
  })
  // Any tab may be the one that refreshes next.
  const tell = (now: boolean): void => {
    if (now === active) return
    active = now
    channel.post(now)
  }
  return {
    note: () => tell(true),
    take() {
      const was = active
      tell(false)
      return was
    },
    close: () => channel.close(),
  }
}
