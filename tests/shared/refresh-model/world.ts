import { beginSession } from '../../../shared/src/ledger/protocol.ts'
import * as agent from './agent.ts'
import { ModelAuthorizationServer } from './authorization-server.ts'
import { ModelBrowser } from './browser.ts'
import { Oracle } from './oracle.ts'
import { realProtocol, type Protocol } from './protocol.ts'
import { ModelStore, type ModelReplica } from './store.ts'
import type { Budget, Event, Request, WorldOptions } from './types.ts'

const callMs = 45_000
const responseMs = 30_000
const lateCommitMs = 5_000
const hastes = [20, 1, 5, 20, 5]
const passing = [1, 6, 30, 61]

/**
 * One session: a browser with many tabs, two replicas, a store and an authorization server, and everything that may go
 * wrong between them. The ledger's steps are the real ones. Everything happens through {@link events}.
 */
export class World {
  readonly protocol: Protocol
  readonly store = new ModelStore(2)
  readonly oracle = new Oracle()
  readonly browser: ModelBrowser
  readonly authorizationServer: ModelAuthorizationServer
  requests: Request[] = []
  readonly #budget: Record<keyof Budget, number>
  readonly #salt: number
  #last = 0
  /** Requests to the authorization server whose sender is gone. */
  #orphans: { readonly token: number; readonly until: number }[] = []

  constructor({ rotation, budget, protocol = realProtocol, salt = 1 }: WorldOptions) {
    this.protocol = protocol
    this.authorizationServer = new ModelAuthorizationServer(rotation)
    this.browser = new ModelBrowser(this)
    this.#budget = { ...budget }
    this.#salt = salt
    const record = beginSession(0, agent.absoluteDeadline, agent.idleSeconds)
    this.store.step(this.store.replicas[0]!, () => ({ answer: undefined, record }))
  }

  next(): number {
    this.#last += 1
    return this.#last
  }

  /** @throws Error that tells the history, when that must never happen. */
  do({ label, happen }: Event): void {
    this.oracle.history.push(`${(this.store.now / 1000).toFixed(0)} s  ${label}`)
    happen()
    this.oracle.check(this.store.record)
  }

  /** Everything that can happen now. @param isCalm No faults, and nothing new from the browser. */
  events(isCalm = false): Event[] {
    const events = [
      ...this.requests.flatMap((request) => this.#stepsOf(request)),
      ...this.#orphanSteps(),
      ...this.#time(),
    ]
    return isCalm
      ? events
      : [
          ...events,
          ...this.browser.events(),
          ...this.requests.flatMap((each) => this.#faultsOf(each)),
          ...this.#faults(),
        ]
  }

  /** An event that may happen so and so often. */
  limited(purse: keyof Budget, label: string, happen: () => void): Event[] {
    if (this.#budget[purse] === 0) return []
    const kind = purse === 'refreshes' || purse === 'looks' ? 'browser' : 'fault'
    return [
      {
        kind,
        label,
        happen: () => {
          this.#budget[purse] -= 1
          happen()
        },
      },
    ]
  }

  drop(request: Request): void {
    this.requests = this.requests.filter((each) => each !== request)
  }

  /** Everything works again. */
  heal(): void {
    for (const replica of this.store.replicas) if (!replica.isConnected) this.store.connect(replica)
    for (const request of this.requests) request.isPaused = false
    this.store.propagate()
  }

  #stepsOf(request: Request): Event[] {
    const { stage, id, replica, isPaused } = request
    const haste = hastes[(id * this.#salt) % hastes.length]!
    const can = (label: string, happen: () => void): Event => {
      return { kind: stage === 'ask' ? 'ask' : 'step', label: `${nameOf(request)} ${label}`, happen, haste }
    }
    const processed = can('is processed by the authorization server', () => {
      request.answer = this.authorizationServer.refresh(request.cookies.token)
      request.stage = 'answered'
    })
    if (isPaused) {
      const wakes = can('wakes up', () => void (request.isPaused = false))
      return stage === 'sent' ? [processed, wakes] : [wakes]
    }
    if (stage === 'sent') return [processed]
    if (stage === 'persist' && !replica.isConnected) return []
    if (stage === 'end' && !replica.isConnected && request.response.status !== 503) return []
    if (stage === 'respond') return [can(`gets ${nameOfResponse(request)}`, () => this.browser.receive(request))]
    const [label, happen] = stages[stage]
    return [can(label, () => happen(this, request))]
  }

  #faultsOf(request: Request): Event[] {
    const { stage } = request
    const who = nameOf(request)
    const events: Event[] = []
    if (stage === 'respond') {
      const lose = (): void => {
        this.oracle.forgets(request.response.cookies)
        this.drop(request)
      }
      return this.limited('lostResponses', `${who} never gets its response`, lose)
    }
    if (stage === 'sent') {
      const label = `${who} does not reach the authorization server, surely`
      events.push(...this.limited('notReached', label, () => agent.notReached(this, request)))
    }
    if (stage === 'sent' || stage === 'answered') {
      events.push(...this.limited('lostAnswers', `${who} loses its answer`, () => agent.loseAnswer(this, request)))
    }
    if (['send', 'sent', 'answered', 'commit', 'refused'].includes(stage) && !request.isPaused) {
      const pause = (): void => {
        request.isPaused = true
        this.oracle.seen.add('pause')
      }
      events.push(...this.limited('pauses', `${who} is paused`, pause))
    }
    return events
  }

  #faults(): Event[] {
    const { store } = this
    const ofReplicas = store.replicas.flatMap((replica, at) => {
      const name = `replica ${'AB'[at]}`
      const lost = this.requests.filter((each) => each.replica === replica && each.stage !== 'respond')
      const dies = lost.length === 0 ? [] : this.limited('deaths', `${name} dies`, () => this.#die(replica, lost))
      if (!replica.isConnected) {
        const back: Event = { kind: 'fault', label: `${name} reaches the store`, happen: () => store.connect(replica) }
        return [...dies, back]
      }
      const cut = (): void => void (replica.isConnected = false)
      return [...dies, ...this.limited('partitions', `${name} loses the store`, cut)]
    })
    const lose = (label: string, how: () => void): Event[] => this.limited('losses', label, () => this.#lose(how))
    return [
      ...ofReplicas,
      ...lose('the store is flushed', () => store.flush()),
      ...(store.canRegress ? lose('the store loses its last write', () => store.regress()) : []),
    ]
  }

  #die(replica: ModelReplica, lost: readonly Request[]): void {
    const { oracle } = this
    oracle.seen.add('death')
    for (const { stage, answer, next, cookies, sentAt, kind } of lost) {
      if (stage === 'sent') this.#orphans.push({ token: cookies.token, until: sentAt + callMs })
      const sent = [this.browser.jar, ...this.requests.map(({ response }) => response.cookies)]
      if (stage === 'persist' && sent.some((each) => each?.key === next?.key)) oracle.isOnlyInBrowser(next!)
      else if (next !== undefined || answer !== undefined) oracle.excuses.add('vanished success')
      if (kind === 'logout') oracle.mayLeaveToken = true
      if (kind === 'logout' && stage === 'end') oracle.isEndForgotten = true
    }
    this.requests = this.requests.filter((each) => !lost.includes(each))
    this.store.restart(replica)
  }

  #lose(how: () => void): void {
    const { oracle, store } = this
    const isRemembered = store.replicas.some((each) => each.isConnected && each.knowsRule)
    if (oracle.isEnded && !isRemembered) oracle.isEndForgotten = true
    if ((store.record?.parked.length ?? 0) > 0 || this.requests.length > 0) oracle.excuses.add('store loss')
    how()
    oracle.storeLost(store.record)
  }

  #orphanSteps(): Event[] {
    return this.#orphans.map((orphan) => ({
      kind: 'step',
      label: 'the authorization server processes a request of the dead',
      happen: () => {
        this.#orphans = this.#orphans.filter((each) => each !== orphan)
        if (this.authorizationServer.refresh(orphan.token) !== undefined) this.oracle.excuses.add('vanished success')
      },
    }))
  }

  #time(): Event[] {
    return passing
      .filter((seconds) => this.#mayPass(seconds * 1000))
      .map((seconds) => ({
        kind: 'time',
        label: `${seconds} s pass`,
        happen: () => {
          this.store.propagate()
          this.store.now += seconds * 1000
        },
      }))
  }

  /** Whatever has a time limit happens before time passes it. */
  #mayPass(ms: number): boolean {
    const now = this.store.now + ms
    const isInTime = ({ stage, since, sentAt, isPaused, replica }: Request): boolean => {
      if (stage === 'respond') return now <= since + responseMs
      // The other side does not pause with it.
      if (stage === 'sent') return now <= sentAt + callMs
      if (isPaused || stage === 'send') return true
      if (stage === 'ask') return now <= Math.max(since, sentAt + callMs) + agent.waitMs + 6000
      if (stage === 'persist') return !replica.isConnected || now <= replica.reachableSince + lateCommitMs
      if (stage === 'end' || stage === 'revoke') return !replica.isConnected || now <= since + responseMs
      return now <= sentAt + callMs
    }
    return this.requests.every(isInTime) && this.#orphans.every(({ until }) => now <= until)
  }
}

const stages: Readonly<
  Record<Exclude<Request['stage'], 'sent' | 'respond'>, readonly [string, (world: World, request: Request) => void]>
> = {
  ask: ['asks', agent.ask],
  send: ['looks again and sends', agent.send],
  answered: ['gets its answer', agent.getAnswer],
  refused: ['takes the refusal to the ledger', agent.takeRefusal],
  commit: ['commits', agent.commit],
  persist: ['commits', agent.commit],
  end: ['ends the session', agent.end],
  revoke: ['revokes', agent.revoke],
}

function nameOfResponse({ response: { status, cookies, clears = false } }: Request): string {
  return `${status}${cookies === undefined ? '' : ` with ${cookies.generation}`}${clears ? ', cleared' : ''}`
}

function nameOf({ kind, id, cookies }: Request): string {
  return `${kind} ${id} (${cookies.generation})`
}
