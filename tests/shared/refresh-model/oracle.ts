import type { SessionRecord } from '../../../shared/src/ledger/protocol.ts'
import type { Cookies, Request } from './types.ts'

/** Ways to lose a session that no protocol can close; docs/sessions.md names them. */
export type Excuse =
  /** The authorization server gave a success, and whoever got it is gone. */
  | 'vanished success'
  /** A success was under way for longer than a lease, and somebody else sent the token again. */
  | 'late success'
  /** A success was in the browser only, and its cookies were rolled back or overwritten. */
  | 'forgotten by the browser'
  | 'store loss'
  | 'thief'
  | 'logout'

/** Watches one history from outside: what has happened, what excuses a loss, and what must never happen (I1 to I5). */
export class Oracle {
  readonly history: string[] = []
  /** What this history has shown, to know that a test has seen it all. */
  readonly seen = new Set<string>()
  readonly excuses = new Set<Excuse>()
  isEnded = false
  /** The end was known to no replica that could have put it back. */
  isEndForgotten = false
  /** Whoever ended the session could not know its newest refresh token. */
  mayLeaveToken = false
  readonly #sendings = new Map<string, number>()
  readonly #commits = new Map<number, number>()
  #highest = 0
  #givenAt = 0
  #acknowledged = 0
  /** Keys of cookies that were sent uncommitted, and whose commit died with its replica. */
  readonly #onlyInBrowser = new Set<number>()

  /** I1. @param others Everything else that is under way. */
  sends({ cookies, isInDoubt }: Request, others: readonly Request[]): void {
    const times = this.#sendings.get(sendingOf(cookies)) ?? 0
    this.#sendings.set(sendingOf(cookies), times + 1)
    if (times === 0) return
    if (!isInDoubt) this.#mustNot('a refresh token was sent twice without a doubt')
    this.seen.add('sent again in doubt')
    const isUncommitted = ({ stage, next, cookies: { token } }: Request): boolean =>
      token === cookies.token && (stage === 'sent' || stage === 'answered' || next !== undefined)
    if (this.#onlyInBrowser.size > 0 || others.some(isUncommitted)) this.excuses.add('late success')
  }

  neverSent({ cookies }: Request): void {
    this.#sendings.set(sendingOf(cookies), this.#sendings.get(sendingOf(cookies))! - 1)
  }

  leased(): void {
    this.#notAfterEnd('a lease')
  }

  /** I2. */
  committed(generation: number, now: number): void {
    this.#notAfterEnd('a commit')
    const times = (this.#commits.get(generation) ?? 0) + 1
    this.#commits.set(generation, times)
    if (times > 1 && !this.excuses.has('store loss')) this.#mustNot('two commits of one generation')
    this.#givenAt = now
  }

  /** I5. @param generation The one that was shown. */
  replayed(generation: number, now: number): void {
    this.#notAfterEnd('a replay')
    if (generation < this.#acknowledged && !this.excuses.has('store loss')) {
      this.#mustNot('cookies for a generation whose successor was acknowledged')
    }
    this.#givenAt = now
  }

  /** Row 9, as the browser's owner would put it: what was shown a minute after it was given has arrived. */
  shown(record: SessionRecord | undefined, { cookies: { generation }, cameAt }: Request, now: number): void {
    if (record === undefined || generation < record.generation) return
    if (generation > record.generation) this.#givenAt = now
    else if (cameAt >= this.#givenAt + 60_000) {
      this.#acknowledged = Math.max(this.#acknowledged, generation)
      if (generation > 0) this.seen.add('acknowledged')
    }
  }

  /** Row 8. @param before The record that a refusal ended. */
  refusalEnded(before: SessionRecord | undefined, { cookies, lease }: Request): void {
    if (before === undefined || before.ended !== undefined) return
    const wentOn = before.generation > cookies.generation || before.lease?.id !== lease
    if (wentOn) this.#mustNot('a refusal ended what had gone on')
  }

  /** The process with the only commit of these cookies is dead, but they were sent. */
  isOnlyInBrowser(cookies: Cookies): void {
    this.#onlyInBrowser.add(cookies.key)
    this.mayLeaveToken = true
  }

  /** The browser does not have these cookies, or not any more. */
  forgets(cookies: Cookies | undefined): void {
    if (cookies !== undefined && this.#onlyInBrowser.has(cookies.key)) this.excuses.add('forgotten by the browser')
  }

  storeLost(record: SessionRecord | undefined): void {
    this.seen.add('loss')
    this.#highest = record?.generation ?? 0
    this.#acknowledged = 0
    this.#commits.clear()
  }

  /** I2, after everything that happens. */
  check(record: SessionRecord | undefined): void {
    if (record === undefined) return
    if (record.generation < this.#highest) this.#mustNot('the generation fell')
    this.#highest = record.generation
    if (record.doubt !== undefined) this.seen.add('in doubt')
    if (record.adopted) this.seen.add('adopted')
  }

  /** I4. */
  #notAfterEnd(what: string): void {
    if (this.isEnded && !this.isEndForgotten) this.#mustNot(`${what} after the end`)
  }

  #mustNot(what: string): never {
    throw new Error(`${what}\n${this.history.join('\n')}`)
  }
}

function sendingOf({ generation, token }: Cookies): string {
  return `${generation} ${token}`
}
