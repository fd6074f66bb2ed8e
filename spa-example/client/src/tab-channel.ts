/** What the tabs of one origin tell each other. */
export interface TabChannel<Message> {
  /** Tells the other tabs; nobody once it is closed, for calls may still be under way then. */
  post(message: Message): void
  close(): void
}

/**
 * Where the browser has no channel for the page, nothing is heard and nobody told: Firefox refuses it with the cookies, and what
 * then is wrong, the login says.
 * @param hear Called with what other tabs post.
 */
export function openTabChannel<Message>(name: string, hear: (message: Message) => void): TabChannel<Message> {
  const channel = broadcastChannel(name)
  let closed = false
  channel?.addEventListener('message', ({ data }: MessageEvent<Message>) => hear(data))
  return {
    post(message) {
      // oxlint-disable-next-line require-post-message-target-origin -- a BroadcastChannel reaches its own origin only
      if (!closed) channel?.postMessage(message)
    },
    close() {
      closed = true
      channel?.close()
    },
  }
}

function broadcastChannel(name: string): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel(name)
  } catch {
    return undefined
  }
}
