/** Whether anybody did anything since the last refresh, in whichever tab: what the agent's idle deadline goes by. */
export interface Activity {
  note(): void
  /** Tells it once: whoever takes it, reports it. */
  take(): boolean
  close(): void
}

export function createActivity(name: string): Activity {
  const channel = new BroadcastChannel(`${name}/activity`)
  let active = false
  let closed = false
  // Any tab may be the one that refreshes next.
  const tell = (now: boolean): void => {
    if (now === active) return
    active = now
    // Calls go on after close, and a closed channel throws.
    if (closed) return
    // oxlint-disable-next-line require-post-message-target-origin -- a BroadcastChannel reaches its own origin only
    channel.postMessage(now)
  }
  channel.addEventListener('message', ({ data }: MessageEvent<boolean>) => {
    active = data
  })
  return {
    note: () => tell(true),
    take() {
      const was = active
      tell(false)
      return was
    },
    close() {
      closed = true
      channel.close()
    },
  }
}
