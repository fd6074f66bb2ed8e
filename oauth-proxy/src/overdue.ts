import type { Clock, SessionIdentity } from '@token-handler/shared'

/** What belongs to a session that may be over before it. */
interface OfSession {
  readonly session: SessionIdentity | undefined
  endSession(code: 'session_ended'): void
}

const sweepMs = 1_000

/**
 * Ends what would outlive the longest session: event streams and WebSockets have a timer of their own, but any answer, and
 * any body, may take as long as its two ends like.
 * @returns Stops looking.
 */
export function endOverdue(open: Iterable<OfSession>, absoluteSeconds: number | undefined, clock: Clock): () => void {
  if (absoluteSeconds === undefined) return () => undefined
  const timer = setInterval(() => {
    const latestStart = clock.now() - absoluteSeconds * 1000
    for (const each of open) {
      if (each.session !== undefined && each.session.startedAt <= latestStart) each.endSession('session_ended')
    }
  }, sweepMs).unref()
  return () => clearInterval(timer)
}
