import type { Activity } from './activity.ts'
import { SessionEndedError, TemporaryError, TokenHandlerClientError } from './errors.ts'
import type { RefreshLock } from './refresh-lock.ts'
import type { SessionCall } from './session-call.ts'
import type { SessionStore } from './session-store.ts'
import { parseClaims, parseTimes, secondsLeft, type Session } from './session.ts'

/** Refreshes, once for all tabs. */
export interface Refresher {
  /** Refreshes in any case, however young the access token. */
  refresh(): Promise<Session>
  /**
   * Sees to it that a request sent from now on carries a newer access token than one sent at `since`.
   * @param trust Whether to believe the agent when it says that the token lives, as after another tab's refresh; default true
   */
  renew(since: number, trust?: boolean): Promise<void>
  /** Refreshes when 80 % of the access token's life are over. Never fails: the token still lives. */
  early(): Promise<void>
}

export interface RefresherDeps {
  readonly call: SessionCall
  readonly store: SessionStore
  readonly lock: RefreshLock
  readonly activity: Activity
  /** Asks the agent anew: an answer that was on its way before does not count. */
  readonly ask: () => Promise<Session>
}

/** Share of the access token's life that is left when it is renewed ahead of need. */
const EARLY = 0.2
const BACKOFF_SECONDS = { first: 5, most: 60 }

export function createRefresher({ call, store, lock, activity, ask }: RefresherDeps): Refresher {
  let refreshing: Promise<Session> | undefined
  let renewing: Promise<void> | undefined
  let failures = 0
  let notBefore = -Infinity

  const post = async (): Promise<Session> => {
    const { epoch } = store
    const active = activity.take()
    const options = { keepalive: true, background: !active }
    const answer = await call('refresh', new URLSearchParams(), options).catch((error: unknown) => {
      if (active) activity.note()
      throw error
    })
    const known = answer === undefined || store.epoch === epoch ? store.current : undefined
    // Nobody has asked yet who is logged in, or that has changed meanwhile: the times alone would not say it.
    if (known?.isLoggedIn !== true) return ask()
    // A login came first, and with it newer cookies than a refresh of the old ones could have brought.
    if (answer === undefined) return known
    const session = { ...known, ...parseClaims(answer), ...parseTimes(answer), receivedAt: performance.now() }
    store.renew(session, 'updated')
    return session
  }

  const refresh = (): Promise<Session> => {
    refreshing ??= lock(post).finally(() => {
      refreshing = undefined
    })
    return refreshing
  }

  const renewUnless = (since: number, isFresh: (session: Session) => boolean): Promise<void> => {
    renewing ??= lock(async () => {
      if (store.renewedAt > since) return
      // News from other tabs may come after the lock: the agent knows whether one of them was faster.
      const session = await ask().catch(onlyTemporary)
      if (session?.isLoggedIn === false) throw new SessionEndedError('session_missing', 'There is no session.')
      if (session === undefined || !isFresh(session)) await post()
    }).finally(() => {
      renewing = undefined
    })
    return renewing
  }

  return {
    refresh,
    renew: (since, trust = true) => renewUnless(since, (session) => trust && accessTokenLeft(session) !== 0),
    async early() {
      const now = performance.now()
      if (!isDue(store.current, now) || now < notBefore) return
      let wait: number | undefined
      try {
        await renewUnless(now, (session) => !isDue(session, performance.now()))
      } catch (error) {
        wait = error instanceof TokenHandlerClientError ? error.retryAfterSeconds : undefined
      }
      // A busy agent may answer with the seconds left of the old token: that counts as a failure too.
      failures = isDue(store.current, performance.now()) ? failures + 1 : 0
      if (failures === 0) return
      wait ??= Math.min(BACKOFF_SECONDS.most, BACKOFF_SECONDS.first * 2 ** (failures - 1))
      notBefore = performance.now() + wait * 1000
    },
  }
}

/** Seconds left of the access token, as far as this page knows. */
export function accessTokenLeft(session: Session | undefined, now: number = performance.now()): number | undefined {
  return session?.isLoggedIn === true ? secondsLeft(session, 'accessTokenExpiresIn', now) : undefined
}

function isDue(session: Session | undefined, now: number): boolean {
  const left = accessTokenLeft(session, now)
  return left !== undefined && left <= EARLY * (session?.accessTokenLifetime ?? 0)
}

function onlyTemporary(error: unknown): undefined {
  if (!(error instanceof TemporaryError)) throw error
}
