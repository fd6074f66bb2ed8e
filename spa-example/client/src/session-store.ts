import { deliver } from './deliver.ts'
import type { Session, SessionDeadline } from './session.ts'
import { openTabChannel } from './tab-channel.ts'

/**
 * Why the session changed. `loaded`: the first answer of this page. `login`: someone logged in, possibly as another
 * user. `updated`: other times or claims, after a refresh. `logout`: on purpose. `ended`: expired, revoked or gone.
 */
export type SessionChangeReason = 'loaded' | 'login' | 'updated' | 'logout' | 'ended'

export interface SessionChange {
  readonly session: Session
  readonly reason: SessionChangeReason
  /** It happened in another tab of this browser. */
  readonly otherTab: boolean
}

export type SessionListener = (change: SessionChange) => void

/** What this page knows about the session, told to its listeners and to the other tabs. */
export interface SessionStore {
  readonly current: Session | undefined
  /** `performance.now()` of the last login or refresh, in any tab: a request sent later carried newer cookies. */
  readonly renewedAt: number
  /** Grows with every login, logout and end: an answer asked for under an older epoch is stale. */
  readonly epoch: number
  /** Takes a `session` answer. */
  learn(session: Session): void
  /** Takes the answer of this page's login or refresh. */
  renew(session: Session, reason: 'login' | 'updated'): void
  end(reason: 'logout' | 'ended'): void
  subscribe(listener: SessionListener): () => void
  close(): void
}

interface Message {
  readonly session: Session
  readonly reason: SessionChangeReason
  /** Newer cookies came with it; other news, such as that the access token is over, is no sign of any. */
  readonly renewed: boolean
  /** Wall clock of the sender, read only as a difference: a frozen tab may hear of it much later. */
  readonly sentAt: number
}

export function createSessionStore(channelName: string): SessionStore {
  const listeners = new Set<SessionListener>()
  let current: Session | undefined
  let renewedAt = -Infinity
  let epoch = 0

  const take = (session: Session, reason: SessionChangeReason, { renewed = false, otherTab = false } = {}): void => {
    if (renewed) renewedAt = session.receivedAt
    current = session
    if (reason === 'login' || reason === 'logout' || reason === 'ended') epoch += 1
    const message: Message = { session, reason, renewed, sentAt: Date.now() }
    if (!otherTab && reason !== 'loaded') channel.post(message)
    for (const listener of listeners) deliver(listener, { session, reason, otherTab })
  }

  const channel = openTabChannel<Message>(channelName, ({ session, reason, renewed, sentAt }) => {
    // Late news of a refresh must not bring back a session that has ended since, or that another user's has replaced.
    if (reason === 'updated' && (current === undefined || difference(current, session) === 'login')) return
    const receivedAt = performance.now() - Math.max(0, Date.now() - sentAt)
    if (session.isLoggedIn || current?.isLoggedIn !== false) {
      take({ ...session, receivedAt }, reason, { renewed, otherTab: true })
    }
  })

  return {
    get current() {
      return current
    },
    get renewedAt() {
      return renewedAt
    },
    get epoch() {
      return epoch
    },
    learn(session) {
      const reason = difference(current, session)
      if (reason === undefined) current = session
      else take(session, reason, { renewed: reason === 'login' })
    },
    renew(session, reason) {
      take(session, reason, { renewed: true })
    },
    end(reason) {
      if (current?.isLoggedIn !== false) take({ isLoggedIn: false, receivedAt: performance.now() }, reason)
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      listeners.clear()
      channel.close()
    },
  }
}

function difference(before: Session | undefined, after: Session): SessionChangeReason | undefined {
  if (before === undefined) return 'loaded'
  if (before.isLoggedIn !== after.isLoggedIn) return after.isLoggedIn ? 'login' : 'ended'
  if (before.idTokenClaims?.['sub'] !== after.idTokenClaims?.['sub']) return 'login'
  const sameClaims = JSON.stringify(before.idTokenClaims) === JSON.stringify(after.idTokenClaims)
  const sameTimes = !hasMoved(before, after, 'accessTokenExpiresIn') && !hasMoved(before, after, 'idleExpiresIn')
  return sameClaims && sameTimes ? undefined : 'updated'
}

/** Did a deadline move from one answer to the next? Times are whole seconds, so less than two may be rounding. */
function hasMoved(before: Session, after: Session, deadline: SessionDeadline): boolean {
  const [was, is] = [before[deadline], after[deadline]]
  if (was === undefined || is === undefined) return was !== is
  return Math.abs(is - was + (after.receivedAt - before.receivedAt) / 1000) >= 2
}
