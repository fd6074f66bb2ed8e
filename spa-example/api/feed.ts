/** Something that happened, as the event stream and the WebSocket tell it. */
export interface FeedEvent {
  /** Grows by one from event to event of one subject. */
  readonly id: number
  readonly type: 'order' | 'cancellation' | 'note'
  readonly data: object
}

/** What happens to each subject's things, told to whoever listens. */
export interface Feed {
  publish(subject: string, type: FeedEvent['type'], data: object): void
  /**
   * Hears what happens from now on, and first what happened after `since`, as far as it is remembered.
   * @returns ends it
   */
  listen(subject: string, hear: (event: FeedEvent) => void, since?: number): () => void
}

const REMEMBERED = 100

export function createFeed(): Feed {
  const bySubject = new Map<
    string,
    { events: FeedEvent[]; nextId: number; listeners: Set<(event: FeedEvent) => void> }
  >()

  function of(subject: string) {
    const known = bySubject.get(subject) ?? { events: [], nextId: 1, listeners: new Set() }
    bySubject.set(subject, known)
    return known
  }

  return {
    publish(subject, type, data) {
      const known = of(subject)
      const event: FeedEvent = { id: known.nextId, type, data }
      known.nextId += 1
      known.events = [...known.events, event].slice(-REMEMBERED)
      for (const hear of known.listeners) hear(event)
    },
    listen(subject, hear, since) {
      const { events, listeners } = of(subject)
      if (since !== undefined) for (const event of events) if (event.id > since) hear(event)
      listeners.add(hear)
      return () => listeners.delete(hear)
    },
  }
}
