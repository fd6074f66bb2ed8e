import type { Judgement, ShownGeneration } from '../../../shared/src/ledger/ledger.ts'
import type { SessionRecord, StepContext } from '../../../shared/src/ledger/protocol.ts'
import type { ModelStore } from './store.ts'
import type { Cookies, Request, Response } from './types.ts'
import type { World } from './world.ts'

/** The OAuth Agent's side of the protocol: what becomes of one request, stage by stage. */

export const session = { sid: 'sid', startedAt: 0, subjectHash: 'subject' }
export const absoluteDeadline = 1_000_000
export const idleSeconds = 900_000
/** A waiting request is answered after this. */
export const waitMs = 8_000
const leaseSeconds = 50
const freshMs = 5_000

/** Rows 2, 3, 7 and 9 to 15. */
export function ask(world: World, request: Request): void {
  const { kind, cookies } = request
  const { now } = world.store
  const lease = `lease ${world.next()}`
  const judgement = step<Judgement>(world, request, (record, context) => {
    world.oracle.shown(record, request, now)
    return world.protocol.show(record, shown(request, kind === 'look' ? 'look' : 'lease', now), lease, context)
  })
  if (judgement.state === 'leased') {
    world.oracle.leased()
    Object.assign(request, { stage: 'send', lease, leasedAt: now, isInDoubt: judgement.inDoubt })
  } else if (judgement.state === 'held') {
    if (now - request.since >= waitMs) respond(world, request, { status: 503 })
  } else if (judgement.state === 'current') respond(world, request, { status: 200 })
  else conclude(world, request, cookies, judgement)
}

/** The holder's rules: re-read just before sending, and never send under an old lease. */
export function send(world: World, request: Request): void {
  const { store, protocol } = world
  if (protocol.looksAgain) {
    if (!request.replica.isConnected) return respond(world, request, { status: 503 })
    const { lease } = store.record ?? {}
    const isMine = lease?.id === request.lease && lease.until > store.now
    const isFresh = store.now - request.leasedAt < freshMs
    if (isMine && !isFresh) tell(world, request, (record) => protocol.release(record, request.lease))
    if (!isMine || !isFresh) return void (request.stage = 'ask')
  }
  world.oracle.sends(request, world.requests)
  Object.assign(request, { stage: 'sent', sentAt: store.now })
}

/** Row 5. */
export function notReached(world: World, request: Request): void {
  world.oracle.neverSent(request)
  tell(world, request, (record) => world.protocol.release(record, request.lease))
  respond(world, request, { status: 503 })
}

/** Row 6. */
export function loseAnswer(world: World, request: Request): void {
  if (request.answer !== undefined) world.oracle.excuses.add('vanished success')
  tell(world, request, (record, { now }) => world.protocol.doubt(record, request.lease, now))
  Object.assign(request, { stage: 'ask', answer: undefined })
  world.oracle.seen.add('doubt')
}

export function getAnswer(world: World, request: Request): void {
  const { answer, cookies } = request
  if (answer === undefined) return void (request.stage = 'refused')
  const next: Cookies = { key: world.next(), generation: cookies.generation + 1, token: answer }
  Object.assign(request, { stage: 'commit', next, answer: undefined })
}

/** Row 4. */
export function commit(world: World, request: Request): void {
  const { cookies, lease, next, stage } = request
  const { store, oracle, protocol } = world
  if (next === undefined) throw new Error('there is nothing to commit')
  if (!request.replica.isConnected) return sendUncommitted(world, request, next)
  const { generation } = cookies
  const blob = JSON.stringify({ ...next, sealedUnder: cookies.key })
  const given = { sid: session.sid, generation, lease, blob, identity: session, absoluteDeadline, idleSeconds }
  const answer = step(world, request, (record, context) => protocol.commit(record, given, context))
  request.next = undefined
  if (answer.state === 'committed') oracle.committed(generation, store.now)
  if (answer.state === 'ended' && protocol.revokesLateSuccess) world.authorizationServer.revoke(next.token)
  if (stage === 'persist') world.drop(request)
  else if (answer.state === 'committed') respond(world, request, { status: 200, cookies: next })
  else conclude(world, request, cookies, answer)
}

/** The response goes its own way; the request stays to commit. */
function sendUncommitted(world: World, request: Request, next: Cookies): void {
  if (!world.protocol.sendsUncommitted) return respond(world, request, { status: 503 })
  world.oracle.seen.add('uncommitted')
  const copy: Request = { ...request, id: world.next(), next: undefined }
  world.requests.push(copy)
  respond(world, copy, { status: 200, cookies: next })
  request.stage = 'persist'
}

/** Row 8. */
export function takeRefusal(world: World, request: Request): void {
  const { cookies, lease } = request
  const before = world.store.record
  const refusal = { sid: session.sid, generation: cookies.generation, lease }
  const answer = step(world, request, (record, context) => world.protocol.refuse(record, refusal, context))
  if (answer.state === 'ended') world.oracle.refusalEnded(before, request)
  if (answer.state === 'not_mine') request.stage = 'ask'
  else conclude(world, request, cookies, answer)
}

/** Row 13. Logout clears the cookies whatever the store says, and tries again until it is written. */
export function end(world: World, request: Request): void {
  const { cookies, replica } = request
  const { oracle, store, protocol } = world
  oracle.excuses.add('logout')
  if (!replica.isConnected) {
    replica.knowsRule = true
    oracle.mayLeaveToken = true
    world.requests.push({ ...request, id: world.next(), stage: 'respond', response: { status: 200, clears: true } })
    request.response = { status: 200 }
    return
  }
  const { generation } = cookies
  const { record } = store
  const parked = record?.parked.filter((entry) => entry.generation > generation).map(({ blob }) => blob) ?? []
  const newestKnown = (open(cookies, parked) ?? cookies).generation
  // Cookies that lead nowhere cannot say which token to revoke.
  if (record !== undefined && newestKnown < record.generation) oracle.mayLeaveToken = true
  const given = { sid: session.sid, reason: 'logout', keepSeconds: 43_200, withRule: true, generation } as const
  const { blobs = [] } = step(world, request, (known, { now }) => protocol.end(known, given, now))
  oracle.isEnded = true
  oracle.seen.add('logout')
  // An end that was tried before has answered its browser then.
  const wasAnswered = request.response.status === 200
  const response: Response = wasAnswered ? { status: 200 } : { status: 200, clears: true }
  Object.assign(request, { stage: 'revoke', revokes: (open(cookies, blobs) ?? cookies).token, response })
}

export function revoke(world: World, request: Request): void {
  world.authorizationServer.revoke(request.revokes)
  request.stage = 'respond'
}

function conclude(
  world: World,
  request: Request,
  cookies: Cookies,
  judgement: Exclude<Judgement, { state: 'leased' | 'held' | 'current' }>,
): void {
  const { oracle, protocol, store } = world
  const refused: Response = { status: 401, clears: !protocol.sparesCookies }
  if (judgement.state === 'unknown') return respond(world, request, { status: 503 })
  if (judgement.state !== 'successors') {
    oracle.seen.add(judgement.state)
    return respond(world, request, judgement.state === 'superseded' ? refused : { status: 401, clears: true })
  }
  const newest = open(cookies, judgement.blobs)
  if (newest === undefined) return respond(world, request, refused)
  if (request.kind === 'look') return respond(world, request, { status: 200 })
  oracle.seen.add('replay')
  oracle.replayed(cookies.generation, store.now)
  respond(world, request, { status: 200, cookies: newest })
}

function respond({ store }: World, request: Request, response: Response): void {
  Object.assign(request, { response, stage: 'respond', since: store.now })
}

function step<Answer>(
  { store }: World,
  { replica }: Request,
  take: (record: SessionRecord | undefined, context: StepContext) => { readonly answer: Answer },
): Answer {
  return replica.isConnected ? store.step(replica, take) : ({ state: 'unknown' } as Answer)
}

/** Tells the ledger something that need not arrive. */
function tell({ store }: World, { replica }: Request, take: Parameters<ModelStore['step']>[1]): void {
  if (replica.isConnected) store.step(replica, take)
}

function shown({ cookies: { generation }, cameAt }: Request, want: 'look' | 'lease', now: number): ShownGeneration {
  const { sid } = session
  const given = { sid, generation, want, leaseSeconds, isActivity: true, identity: session }
  return { ...given, absoluteDeadline, idleSeconds, ageMs: () => now - cameAt }
}

/** Walks the chain of parked cookies, each sealed under the key of the one before it. */
function open(cookies: Cookies, blobs: readonly string[]): Cookies | undefined {
  let newest: Cookies | undefined
  for (const blob of blobs) {
    const { sealedUnder, ...next } = JSON.parse(blob) as Cookies & { sealedUnder: number }
    if (sealedUnder !== (newest ?? cookies).key) return undefined
    newest = next
  }
  return newest
}
