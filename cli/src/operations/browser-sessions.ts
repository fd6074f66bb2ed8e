import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '@token-handler/shared'

/** Who uses the page in one browser. */
export interface BrowserSession {
  /** Name of the admin key, or of the client certificate. */
  readonly actor: string
  /** Has to be in every form that changes something. */
  readonly formToken: string
  /** What the next page says once. */
  notice: string | undefined
}

interface KeptSession extends BrowserSession {
  readonly endsAt: number
}

/** Long enough for an incident's next step, short enough for a desk that was left. */
export const lifetimeSeconds = 30 * 60
/** At most; beyond that, who came first has to log in again. */
const mostSessions = 100
/** Cookies are for a host, not for a port: nothing else on this host has this path. */
const path = '/operations'

/**
 * Sessions of the operations page, in memory: a restart ends them. The browser holds a random number, this process the
 * hash of it; the admin key is in neither.
 */
export class BrowserSessions {
  readonly #sessions = new Map<string, KeptSession>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns The session, and its `Set-Cookie`. */
  begin(req: IncomingMessage, actor: string): { readonly session: BrowserSession; readonly cookie: string } {
    const id = randomBytes(32).toString('base64url')
    const session: KeptSession = {
      actor,
      formToken: randomBytes(32).toString('base64url'),
      notice: undefined,
      endsAt: this.#clock.monotonic() + lifetimeSeconds * 1000,
    }
    if (this.#sessions.size >= mostSessions) this.#sessions.delete(this.#sessions.keys().next().value ?? '')
    this.#sessions.set(digestOf(id), session)
    return { session, cookie: cookieLine(req, id, lifetimeSeconds) }
  }

  find(req: IncomingMessage): BrowserSession | undefined {
    const digest = shownDigest(req)
    const session = digest === undefined ? undefined : this.#sessions.get(digest)
    if (digest === undefined || session === undefined) return undefined
    if (this.#clock.monotonic() < session.endsAt) return session
    this.#sessions.delete(digest)
    return undefined
  }

  /** @returns The `Set-Cookie` that makes the browser forget. */
  end(req: IncomingMessage): string {
    const digest = shownDigest(req)
    if (digest !== undefined) this.#sessions.delete(digest)
    return cookieLine(req, '', 0)
  }
}

/** Whether a form has the session's token. */
export function hasToken({ formToken }: BrowserSession, given: string | null): boolean {
  const [ours, theirs] = [Buffer.from(formToken), Buffer.from(given ?? '')]
  return ours.length === theirs.length && timingSafeEqual(ours, theirs)
}

/** Whether this listener terminates TLS; behind another terminator it cannot know. */
export function isEncrypted(req: IncomingMessage): boolean {
  return (req.socket as Partial<TLSSocket>).encrypted === true
}

function cookieName(req: IncomingMessage): string {
  return isEncrypted(req) ? '__Secure-th-operations' : 'th-operations'
}

function cookieLine(req: IncomingMessage, value: string, maxAge: number): string {
  const secure = isEncrypted(req) ? '; Secure' : ''
  return `${cookieName(req)}=${value}; Path=${path}; Max-Age=${maxAge}; HttpOnly; SameSite=Strict${secure}`
}

/** Nothing where there are two: one of them was put there by somebody else. */
function shownDigest(req: IncomingMessage): string | undefined {
  const name = cookieName(req)
  const values = (req.headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
  const [value = '', ...others] = values
  return others.length === 0 && /^[\w-]{43}$/.test(value) ? digestOf(value) : undefined
}

function digestOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url')
}
