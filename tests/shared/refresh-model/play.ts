import { maxParked } from '../../../shared/src/ledger/ledger.ts'
import type { Excuse, Oracle } from './oracle.ts'
import type { Event, WorldOptions } from './types.ts'
import { World } from './world.ts'

/** Longest time in which everything must have come to rest: far more than a lease and a back-off. */
const restMs = 600_000
/** Requests mostly go on; time passes and faults happen now and then. */
const weights = { step: 4, ask: 3, browser: 3, fault: 2, time: 1 } as const

/**
 * Plays one history: each choice picks one of the things that can happen. Then everything works again, and the browser
 * tries to go on.
 * @throws Error that tells the history, when something happened that must never happen.
 */
export function play(options: WorldOptions, choices: readonly number[]): Oracle {
  const world = new World(options)
  const { oracle, store, browser } = world
  for (const choice of choices) {
    const event = pick(world.events(), choice)
    if (event !== undefined) world.do(event)
  }
  world.heal()
  oracle.history.push('everything works again')
  comeToRest(world)
  const isFarBehind = (store.record?.generation ?? 0) - (browser.jar?.generation ?? 0) > maxParked
  const outcome = goOn(world)
  const fail = (what: string): never => {
    throw new Error(`${what}\n${oracle.history.join('\n')}`)
  }
  if (oracle.isEnded) {
    if (outcome === 'alive' && !oracle.isEndForgotten) fail('a session went on after its end')
    if (world.authorizationServer.isGrantAlive && !mayStayAlive(oracle)) fail('a refresh token outlived the session')
  } else if (outcome === 'lost' && !isFarBehind && !mayBeLost(world)) fail('a session was lost')
  return oracle
}

function pick(events: readonly Event[], choice: number): Event | undefined {
  const weigh = ({ kind, haste = 5 }: Event): number => weights[kind] * haste
  let left = choice % events.reduce((sum, event) => sum + weigh(event), 0)
  return events.find((event) => (left -= weigh(event)) < 0)
}

const always: readonly Excuse[] = ['thief', 'store loss', 'logout', 'forgotten by the browser']

/**
 * Invariant I3: what is lost was lost between the authorization server and the commit, or by a browser that fell back by
 * more generations than are parked.
 */
function mayBeLost({ authorizationServer: { rotation }, oracle: { excuses } }: World): boolean {
  if (always.some((each) => excuses.has(each))) return true
  if (excuses.has('late success')) return rotation !== 'static'
  return excuses.has('vanished success') && rotation === 'strict'
}

/** Invariant I4: a refresh token that is left alive is one that nobody can open. */
function mayStayAlive({ mayLeaveToken, isEndForgotten, excuses }: Oracle): boolean {
  return mayLeaveToken || isEndForgotten || excuses.has('vanished success') || excuses.has('store loss')
}

/** Invariant I7: whatever was under way ends. */
function comeToRest(world: World): void {
  const giveUpAt = world.store.now + restMs
  const next = (kind: Event['kind']): Event | undefined => world.events(true).find((event) => event.kind === kind)
  while (world.requests.length > 0) {
    if (world.store.now > giveUpAt) throw new Error(`a request never ends\n${world.oracle.history.join('\n')}`)
    for (let step = next('step'); step !== undefined; step = next('step')) world.do(step)
    for (const ask of world.events(true).filter((event) => event.kind === 'ask')) world.do(ask)
    const time = next('time')
    if (time !== undefined && next('step') === undefined) world.do(time)
  }
}

function goOn(world: World): 'alive' | 'lost' {
  const { browser, oracle } = world
  for (let attempt = 0; attempt < 20 && browser.jar !== undefined; attempt++) {
    oracle.history.push('the browser refreshes once more')
    browser.send('refresh', browser.jar)
    comeToRest(world)
    if (browser.lastStatus === 200) return 'alive'
    if (browser.lastStatus === 401) return 'lost'
    const pause = world.events(true).findLast((event) => event.kind === 'time')
    if (pause !== undefined) world.do(pause)
  }
  return 'lost'
}
