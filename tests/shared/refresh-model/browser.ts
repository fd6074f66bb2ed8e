import type { Cookies, Event, Request } from './types.ts'
import type { World } from './world.ts'

/** Browsers write cookies to the disk within this time. */
const flushMs = 30_000
/** More requests at once would all show the same cookies, and tell nothing new. */
const mostAtOnce = 3

/** One browser with many tabs over one jar, and a thief who may copy it. */
export class ModelBrowser {
  jar: Cookies | undefined = { key: 0, generation: 0, token: 0 }
  /** Status of the last response that arrived. */
  lastStatus: number | undefined
  /** What a crash may bring back. */
  #onDisk: { readonly cookies: Cookies; readonly until: number }[] = []
  #stolen: Cookies | undefined
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  events(): Event[] {
    const { jar } = this
    const { store, requests } = this.#world
    const events: Event[] = []
    if (requests.length >= mostAtOnce) return events
    if (jar !== undefined) {
      for (const at of store.replicas.keys()) {
        for (const [kind, purse] of [
          ['refresh', 'refreshes'],
          ['look', 'looks'],
          ['logout', 'logouts'],
        ] as const) {
          const label = `a tab: ${kind} with ${jar.generation} at ${'AB'[at]}`
          events.push(...this.#world.limited(purse, label, () => this.send(kind, jar, at)))
        }
      }
      this.#onDisk = this.#onDisk.filter(({ until }) => until > store.now)
      for (const { cookies } of this.#onDisk) {
        const label = `the browser crashes, and is back at ${cookies.generation}`
        events.push(...this.#world.limited('rollbacks', label, () => this.#rollBack(jar, cookies)))
      }
    }
    return [...events, ...this.#theft()]
  }

  send(kind: Request['kind'], cookies: Cookies, replica = 0): void {
    const { store, requests } = this.#world
    requests.push({
      id: this.#world.next(),
      kind,
      replica: store.replicas[replica]!,
      cookies,
      cameAt: store.now,
      stage: kind === 'logout' ? 'end' : 'ask',
      since: store.now,
      isPaused: false,
      isForgotten: false,
      lease: '',
      leasedAt: 0,
      isInDoubt: false,
      sentAt: 0,
      answer: undefined,
      next: undefined,
      revokes: 0,
      response: { status: 503 },
    })
  }

  receive(request: Request): void {
    const { response, kind, isForgotten } = request
    const { oracle, store } = this.#world
    this.#world.drop(request)
    if (isForgotten) return oracle.forgets(response.cookies)
    this.lastStatus = response.status
    if (kind === 'thief') this.#stolen = response.cookies ?? this.#stolen
    else if (response.clears === true) this.jar = undefined
    else if (response.cookies !== undefined && this.jar !== undefined) {
      oracle.forgets(this.jar)
      this.#onDisk.push({ cookies: this.jar, until: store.now + flushMs })
      this.jar = response.cookies
    }
  }

  /** What the disk had is what there is now, and whoever waited for an answer is gone. */
  #rollBack(jar: Cookies, cookies: Cookies): void {
    const { oracle, requests } = this.#world
    oracle.forgets(jar)
    for (const request of requests) if (request.kind !== 'thief') request.isForgotten = true
    this.jar = cookies
    this.#onDisk = []
    oracle.seen.add('rollback')
  }

  #theft(): Event[] {
    const { jar } = this
    const stolen = this.#stolen
    if (stolen !== undefined) {
      return this.#world.limited('thefts', `a thief refreshes with ${stolen.generation}`, () => {
        this.#world.oracle.excuses.add('thief')
        this.send('thief', stolen)
      })
    }
    if (jar === undefined) return []
    return this.#world.limited('thefts', `a thief copies the cookies of ${jar.generation}`, () => {
      this.#stolen = jar
    })
  }
}
