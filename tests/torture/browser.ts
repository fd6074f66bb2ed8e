import { setTimeout as sleep } from 'node:timers/promises'
import type { CookieJar, StoredCookie } from '../support/cookie-jar.ts'
import type { BrowserRequests, Reply } from './browser-request.ts'
import type { Fault, FaultSchedule, KindAt } from './faults.ts'
import type { History, Loss, TorturedSession } from './history.ts'
import type { LogIn } from './login.ts'
import type { Random } from './random.ts'
import type { CookieReader, ShownCookies } from './shown-cookies.ts'
import type { Storm } from './storm.ts'

export interface BrowserDeps {
  readonly number: number
  readonly jar: CookieJar
  readonly newJar: () => CookieJar
  readonly tabs: number
  readonly agents: number
  readonly thinkMs: number
  readonly requests: BrowserRequests
  readonly reader: CookieReader
  readonly logIn: LogIn
  readonly history: History
  readonly schedule: FaultSchedule
  readonly storm: Storm
  readonly random: Random
}

/** A jar as it was when it got the cookies of a generation. */
interface Snapshot {
  readonly generation: number
  readonly at: number
  readonly cookies: readonly StoredCookie[]
}

export const refreshPath = '/oauth-agent/refresh'
export const sessionPath = '/oauth-agent/session'
const logoutPath = '/oauth-agent/logout'
/** Of all bursts, those that meet with a fault while faults are due. */
const faultShare = 0.4
/** Cookies that were replaced longer ago may be acknowledged: going back to them is not promised to work. */
const rollBackMs = 40_000
const keptSnapshots = 3

/** A browser with several tabs, one jar, and one session after another. */
export class TorturedBrowser {
  readonly #deps: BrowserDeps
  readonly #others = new Set<Promise<void>>()
  #session: TorturedSession | undefined
  #snapshots: Snapshot[] = []
  #lastWord = 'it was never asked for'

  constructor(deps: BrowserDeps) {
    this.#deps = deps
  }

  get session(): TorturedSession | undefined {
    return this.#session
  }

  /** What the last try to refresh came to, for whoever has to find out why. */
  get lastWord(): string {
    return this.#lastWord
  }

  /** Lives until told otherwise, then until nothing is under way. */
  async live(isOver: () => boolean): Promise<void> {
    const { random, thinkMs, storm, schedule } = this.#deps
    while (!isOver()) {
      if (this.#session === undefined && !(await this.#begin())) continue
      await storm.pass()
      const fault = random.isTrue(faultShare) ? schedule.take('browser') : undefined
      await (fault === undefined ? this.#burst() : this.#strike(fault))
      if (!storm.isNear) await sleep(random.between(0, 2 * thinkMs))
    }
    await Promise.all(this.#others)
  }

  /** @returns Whether the session is over, or the agents prove it alive by refreshing it. */
  async settle(): Promise<boolean> {
    const session = this.#session
    if (session === undefined) return true
    const since = Date.now()
    const reply = await this.#tab(refreshPath)
    this.#lastWord = wordOf(reply)
    return this.#session !== session || session.aliveAt >= since
  }

  async #begin(): Promise<boolean> {
    const { logIn, jar, number, random, agents, reader, history } = this.#deps
    const isIn = await logIn(jar, random.below(agents))
    const shown = isIn ? reader.read(this.#cookie(refreshPath)) : undefined
    if (shown === undefined) {
      await sleep(200)
      return false
    }
    this.#session = {
      id: shown.session,
      browser: number,
      tag: shown.tag,
      startedAt: Date.now(),
      logout: undefined,
      loss: undefined,
      aliveAt: Date.now(),
      stolenAt: undefined,
    }
    history.begin(this.#session, shown.refreshToken)
    this.#snapshots = [this.#snapshot(shown)]
    return true
  }

  async #strike(fault: Fault<KindAt<'browser'>>): Promise<void> {
    const { history, random } = this.#deps
    const session = this.#session
    if (session === undefined) return
    history.inject(fault, session.id)
    if (fault.kind === 'thief') {
      this.#follow(this.#steal(session, fault))
      await this.#burst()
    } else if (fault.kind === 'logout') await this.#logOut(session, fault)
    else {
      if (fault.kind === 'roll_back') this.#rollBack(random)
      await this.#burst({
        ...(fault.kind === 'abort' ? { abortMs: fault.severity * 400 } : {}),
        isDeaf: fault.kind === 'lost_answers',
      })
      history.heal(fault)
    }
  }

  /** All tabs ask at about the same time, each any agent. */
  async #burst({ abortMs, isDeaf = false }: { abortMs?: number; isDeaf?: boolean } = {}): Promise<void> {
    const { tabs, random } = this.#deps
    const spread = random.pick([0, 0, 30, 300])
    await Promise.all(
      Array.from({ length: tabs }, async (_, tab) => {
        await sleep(random.between(0, spread))
        const isGivenUp = abortMs !== undefined && (tab === 0 || random.isTrue(0.5))
        const signal = isGivenUp ? AbortSignal.timeout(Math.round(abortMs)) : undefined
        await this.#tab(random.isTrue(0.85) ? refreshPath : sessionPath, { isDeaf, ...(signal && { signal }) })
      }),
    )
  }

  /** @returns nothing if the jar has no cookies of the session */
  async #tab(
    path: string,
    options: { readonly signal?: AbortSignal; readonly isDeaf?: boolean } = {},
  ): Promise<Reply | undefined> {
    const { requests, random, agents, reader } = this.#deps
    const session = this.#session
    const cookie = this.#cookie(path)
    const shown = reader.read(cookie)
    if (session === undefined || shown?.session !== session.id) return undefined
    const { isDeaf = false, ...signal } = options
    const method = path === sessionPath ? 'GET' : 'POST'
    const sentAt = Date.now()
    const agent = random.below(agents)
    const reply = await requests.ask({ agent, method, path, cookie, ...signal })
    if (reply.outcome === 'answer' && !isDeaf) this.#take(reply, path)
    this.#judge(session, shown, reply, { agent, sentAt, isDeaf })
    return reply
  }

  /** What an answer means for the session whose cookies were shown. */
  #judge(
    session: TorturedSession,
    shown: ShownCookies,
    reply: Reply,
    { agent, sentAt, isDeaf }: { readonly agent: number; readonly sentAt: number; readonly isDeaf: boolean },
  ): void {
    if (reply.outcome !== 'answer') return
    const { reader, history } = this.#deps
    const at = Date.now()
    for (const tag of reader.deletedTags(reply.setCookies)) {
      const deleted = [...history.sessions.values()].find((other) => other.tag === tag)
      if (deleted !== undefined) history.deletions.push({ at, session: deleted.id })
    }
    const isGiven = reader.gives(reply.setCookies, shown.tag)
    const isLoggedIn = reply.json['is_logged_in']
    if (isGiven || isLoggedIn === true) {
      session.aliveAt = at
      const { logout } = session
      if (logout?.answeredAt !== undefined && sentAt > logout.answeredAt) {
        const what = isGiven ? 'new cookies' : 'is_logged_in'
        history.revivals.push({ sentAt, at, session: session.id, agent, what })
      }
    }
    const answer = lossIn(reply)
    if (answer === undefined || session.logout !== undefined || session.loss !== undefined) return
    // An answer to cookies that this jar has replaced meanwhile says nothing about it.
    const isOutdated = reader.read(this.#cookie(refreshPath))?.generation !== shown.generation
    if (answer !== 'expired' && (isOutdated || isDeaf)) return
    session.loss = { at, answer, generation: shown.generation }
    history.note('loss', { session: session.id, answer, generation: shown.generation })
    if (this.#session === session) this.#session = undefined
  }

  #take({ setCookies }: Extract<Reply, { outcome: 'answer' }>, path: string): void {
    const { jar, requests, reader } = this.#deps
    jar.store(requests.origin + path, setCookies)
    const shown = reader.read(this.#cookie(refreshPath))
    if (shown === undefined || shown.session !== this.#session?.id) return
    const newest = this.#snapshots.at(-1)
    if (newest !== undefined && shown.generation <= newest.generation) return
    this.#snapshots = [...this.#snapshots, this.#snapshot(shown)].slice(-keptSnapshots)
  }

  /** The jar as a crash left it on the disk: one or two generations ago, as it was {@link rollBackMs} ago at the most. */
  #rollBack(random: Random): void {
    const { jar } = this.#deps
    const then = Date.now() - rollBackMs
    const older = this.#snapshots.filter((_, index) => (this.#snapshots[index + 1]?.at ?? 0) >= then)
    if (older.length === 0) return
    const snapshot = random.pick(older)
    jar.restore(snapshot.cookies)
    this.#snapshots = this.#snapshots.filter(({ generation }) => generation <= snapshot.generation)
  }

  /** Somebody copies the jar, and uses the copy while the owner goes on. */
  async #steal(session: TorturedSession, fault: Fault): Promise<void> {
    const { newJar, jar, random, reader, requests, agents, history } = this.#deps
    const stolen = newJar()
    stolen.restore(jar.snapshot())
    await sleep(fault.severity * 6000)
    const cookie = stolen.header(requests.origin + refreshPath)
    const shown = reader.read(cookie)
    if (shown !== undefined) {
      const sentAt = Date.now()
      const ownersGeneration = this.#snapshots.at(-1)?.generation ?? 0
      const isOwners = this.#session === session
      for (const path of [sessionPath, refreshPath]) {
        const method = path === sessionPath ? 'GET' : 'POST'
        const agent = random.below(agents)
        const reply = await requests.ask({ agent, method, path, cookie })
        if (reply.outcome !== 'answer') continue
        this.#judge(session, shown, reply, { agent, sentAt, isDeaf: true })
        if (!reader.gives(reply.setCookies, session.tag)) continue
        session.stolenAt = Date.now()
        if (isOwners && ownersGeneration - shown.generation > keptSnapshots) {
          const detail = `generation ${shown.generation}, while the browser had ${ownersGeneration}`
          history.violate('old cookies get nothing', detail, session.id)
        }
      }
    }
    history.heal(fault)
  }

  /** One tab logs out while the others refresh; afterwards copies of the cookies are tried everywhere. */
  async #logOut(session: TorturedSession, fault: Fault): Promise<void> {
    const { newJar, jar, random, requests, agents } = this.#deps
    const copy = newJar()
    copy.restore(jar.snapshot())
    const others = this.#burst()
    await sleep(fault.severity * 300)
    const logout: TorturedSession['logout'] = { askedAt: Date.now(), answeredAt: undefined, agent: undefined }
    if (session.loss === undefined) session.logout = logout
    for (;;) {
      const agent = random.below(agents)
      const cookie = this.#cookie(logoutPath)
      const reply = await requests.ask({ agent, method: 'POST', path: logoutPath, cookie })
      if (reply.outcome === 'answer' && reply.status === 200) {
        jar.store(requests.origin + logoutPath, reply.setCookies)
        Object.assign(logout, { answeredAt: Date.now(), agent })
        break
      }
      await sleep(100)
    }
    if (this.#session === session) this.#session = undefined
    this.#follow(this.#haunt(session, copy, fault))
    await others
  }

  async #haunt(session: TorturedSession, copy: CookieJar, fault: Fault): Promise<void> {
    const { requests, reader, agents, random, history } = this.#deps
    for (const pauseMs of [0, 500, 3000]) {
      await sleep(pauseMs * random.between(0.5, 1.5))
      await Promise.all(
        Array.from({ length: agents }, async (_, agent) => {
          const path = random.isTrue(0.5) ? refreshPath : sessionPath
          const cookie = copy.header(requests.origin + path)
          const shown = reader.read(cookie)
          if (shown === undefined) return
          const sentAt = Date.now()
          const method = path === sessionPath ? 'GET' : 'POST'
          const reply = await requests.ask({ agent, method, path, cookie })
          this.#judge(session, shown, reply, { agent, sentAt, isDeaf: true })
        }),
      )
    }
    history.heal(fault)
  }

  #follow(work: Promise<void>): void {
    const followed: Promise<void> = work.finally(() => this.#others.delete(followed))
    this.#others.add(followed)
  }

  #cookie(path: string): string {
    return this.#deps.jar.header(this.#deps.requests.origin + path)
  }

  #snapshot({ generation }: ShownCookies): Snapshot {
    return { generation, at: Date.now(), cookies: this.#deps.jar.snapshot() }
  }
}

function lossIn({ status, code, json }: Extract<Reply, { outcome: 'answer' }>): Loss['answer'] | undefined {
  if (status === 401) return code === 'session_superseded' ? 'superseded' : 'expired'
  return json['is_logged_in'] === false ? 'not_logged_in' : undefined
}

function wordOf(reply: Reply | undefined): string {
  if (reply === undefined) return 'the jar has no cookies of it'
  if (reply.outcome === 'none') return 'no answer'
  return [reply.status, reply.code, JSON.stringify(reply.json)].join(' ')
}
