import type { Fault } from './faults.ts'
import type { History, Logout, Loss, Outage, Reception, TorturedSession } from './history.ts'
import type { Rotation } from './token-families.ts'

export interface OracleInput {
  readonly history: History
  readonly rotation: Rotation
  /** Lease of an agent: after it, others go on. */
  readonly leaseMs: number
  /** A new connection to a store that is back takes some time. */
  readonly reconnectMs: number
  /** Whether the family of a refresh token still works at the authorization server; left out where nobody can say. */
  readonly isAlive: ((token: string) => boolean) | undefined
}

/** What the figures of a run come to, besides the violations that are added to the history. */
export interface Findings {
  /** Refresh tokens that reached the authorization server again after they might have been processed. */
  readonly secondSends: number
  /** Successes of the authorization server that a kill, a pause or a cut kept from being committed. */
  readonly windows: number
  /** Sessions lost, by what their window was. */
  readonly losses: Readonly<Record<Window, number>>
  /** Sessions that a thief took so far ahead that their owner's cookies were refused. */
  readonly overtaken: number
  /** Logouts whose agent died while the store was away: the end of the session died with it. */
  readonly forgottenLogouts: number
  readonly checkedLogouts: number
}

/** What came between a success of the authorization server and its commit. */
export type Window = 'cut' | 'killed' | 'paused' | 'cut off from the store'

/** The longest pause between two attempts to write down the end of a session, and the attempt. */
const retryMs = 2_500
/** Within this a logout has its refresh token revoked, and a refresh under way has learnt that the session is over. */
const cleanUpMs = 6_000
/** When an agent may find no store: to one that was stopped, its time limits have passed when it goes on. */
const away: readonly Outage['kind'][] = ['store', 'paused']
/** Generations that are kept for browsers that missed them. */
const parked = 3

/**
 * Holds what was seen against what is promised: the authorization server's own record, the browsers' answers, and the
 * agents' event streams. It knows nothing of how the agents work.
 */
export function examine({ history, rotation, leaseMs, reconnectMs, isAlive }: OracleInput): Findings {
  const byToken = Map.groupBy(history.receptions, ({ token }) => token)
  const bySession = Map.groupBy(history.receptions, ({ token }) => history.tokens.get(token)?.session)
  const events = Map.groupBy(history.events, ({ event, session, generation }) => key(event, session, generation))
  const losses: Record<Window, number> = { cut: 0, killed: 0, paused: 0, 'cut off from the store': 0 }
  let overtaken = 0

  function outagesOf(agent: number, from: number, to: number, kinds: readonly Outage['kind'][]): readonly Outage[] {
    return history.outages.filter(
      (outage) =>
        kinds.includes(outage.kind) &&
        (outage.agent === undefined || outage.agent === agent) &&
        outage.from <= to &&
        (outage.to ?? Infinity) >= from,
    )
  }

  const outageOf = (...about: Parameters<typeof outagesOf>): Outage | undefined => outagesOf(...about)[0]

  /** What kept a success from being committed until `until`, if anything did. */
  function windowOf(reception: Reception, until: number): Window | 'committed' | undefined {
    const { agent, at } = reception
    const known = history.tokens.get(reception.token)
    const commits = events.get(key('session_refreshed', known?.session, known?.depth)) ?? []
    if (commits.some((commit) => commit.agent === agent && commit.at <= until)) return 'committed'
    if (reception.isLost) return 'cut'
    const broken = outageOf(agent, at, until, ['killed', 'paused'])?.kind
    if (broken === 'killed' || broken === 'paused') return broken
    // Where the store is away for all, the doubt has to wait until its holder had time to commit.
    const isCutOff = history.outages.some(
      ({ kind, agent: of, from, to = Infinity }) =>
        kind === 'store' && of === agent && from <= until && to + reconnectMs >= until,
    )
    return isCutOff ? 'cut off from the store' : undefined
  }

  function checkSecondSends(): number {
    let total = 0
    for (const [token, receptions] of byToken) {
      const known = history.tokens.get(token)
      if (known === undefined || rotation === 'static') continue
      const again = receptions.filter((_, index) => receptions.slice(0, index).some(({ isHarmless }) => !isHarmless))
      const doubts = events.get(key('refresh_in_doubt', known.session, known.depth))?.length ?? 0
      total += again.length
      if (again.length > doubts) {
        const detail = `generation ${known.depth} was sent ${again.length} more times, ${doubts} of them in doubt`
        history.violate('no refresh token is sent again except from doubt', detail, known.session)
      }
    }
    return total
  }

  function checkLoss(session: TorturedSession): void {
    const { loss } = session
    if (loss === undefined) return
    const wrong = (detail: string): void =>
      history.violate('a session is lost only in a window', `${loss.answer}: ${detail}`, session.id)
    const receptions = bySession.get(session.id) ?? []
    const refused = receptions.find(({ outcome }) => outcome === 'refused')
    if (refused === undefined || (refused.processedAt ?? Infinity) > loss.at) return checkSuperseded(session, loss)
    if (rotation !== 'strict') return wrong(`with refresh tokens that are ${rotation}`)
    const depth = history.tokens.get(refused.token)?.depth
    const granted = receptions.find(({ token, outcome }) => token === refused.token && outcome === 'granted')
    if (granted === undefined) return wrong(`the refresh token of generation ${depth} was never used`)
    const doubts = events.get(key('refresh_in_doubt', session.id, depth)) ?? []
    // Who sends again goes by what the ledger said a moment before; a commit between the two comes too late.
    const sentAgain = doubts.findLast(({ agent, at }) => agent === refused.agent && at <= refused.at)
    const window = windowOf(granted, sentAgain?.at ?? refused.at)
    if (window === undefined) return wrong(`nothing kept agent ${granted.agent} from committing generation ${depth}`)
    if (window === 'committed') return wrong(`generation ${depth} was committed, and sent again`)
    if (!doubts.some(({ at }) => at <= loss.at)) return wrong('not reported as refresh_in_doubt')
    losses[window] += 1
  }

  /** Old cookies lead to the newest ones, unless a step between was never committed, or a thief made too many of them. */
  function checkSuperseded({ id, stolenAt }: TorturedSession, { answer, generation, at }: Loss): void {
    const granted = (bySession.get(id) ?? []).filter(({ outcome }) => outcome === 'granted')
    const depthOf = ({ token }: Reception): number => history.tokens.get(token)?.depth ?? 0
    const newest = Math.max(0, ...granted.map((one) => depthOf(one) + 1))
    const missing = granted.filter((one) => depthOf(one) >= generation).map((one) => windowOf(one, at))
    const window = missing.find((found) => found !== undefined && found !== 'committed')
    if (answer !== 'expired' && window !== undefined && rotation === 'strict') losses[window] += 1
    else if (answer !== 'expired' && newest - generation > parked && stolenAt !== undefined) overtaken += 1
    else {
      const detail = `${answer}: showed generation ${generation} of ${newest}, which the authorization server never refused`
      history.violate('a session is lost only in a window', detail, id)
    }
  }

  function countWindows(): number {
    const granted = [...byToken.values()].flatMap((all) => all.filter(({ outcome }) => outcome === 'granted'))
    return granted.filter((reception) => {
      const window = windowOf(reception, (reception.processedAt ?? reception.at) + leaseMs)
      return window !== undefined && window !== 'committed'
    }).length
  }

  /** From when on the end of a session is known to all, or `undefined` if nobody wrote it down. */
  function endedForAll({ askedAt, answeredAt, agent = 0 }: Logout): number | undefined {
    if (answeredAt === undefined) return undefined
    const outages = outagesOf(agent, askedAt - reconnectMs, answeredAt, away)
    if (outages.length === 0) return answeredAt
    const writtenAt = Math.max(answeredAt, ...outages.map(({ to }) => (to ?? answeredAt) + reconnectMs)) + retryMs
    return outageOf(agent, askedAt, writtenAt, ['killed']) === undefined ? writtenAt : undefined
  }

  function checkRevivals(): void {
    for (const { sentAt, at, session, agent, what } of history.revivals) {
      const logout = history.sessions.get(session)?.logout
      const since = logout === undefined ? undefined : endedForAll(logout)
      // An agent that cannot ask goes by what it knew a moment ago.
      const isInTheDark = outageOf(agent, sentAt - reconnectMs, at, away) !== undefined
      if (since === undefined || sentAt <= since || isInTheDark) continue
      history.violate('nothing comes back after a logout', `${what} from agent ${agent}`, session)
    }
  }

  function checkDeletions(): void {
    for (const { at, session } of history.deletions) {
      const logout = history.sessions.get(session)?.logout
      if (logout !== undefined && logout.askedAt <= at) continue
      const refused = bySession
        .get(session)
        ?.some(({ outcome, processedAt = Infinity }) => outcome === 'refused' && processedAt <= at)
      if (refused !== true) {
        history.violate('cookies are deleted only when the session is over', 'deleted while it was alive', session)
      }
    }
  }

  /** After a logout nothing works at the authorization server either, unless whoever had to see to it was broken. */
  function checkLeftovers(): { checkedLogouts: number; forgottenLogouts: number } {
    let checkedLogouts = 0
    let forgottenLogouts = 0
    for (const { id, logout } of history.sessions.values()) {
      if (logout?.answeredAt === undefined) continue
      if (endedForAll(logout) === undefined) forgottenLogouts += 1
      if (isAlive === undefined) continue
      const receptions = bySession.get(id) ?? []
      const { askedAt, answeredAt, agent = 0 } = logout
      const isBroken = (of: number, from: number): boolean =>
        outageOf(of, from, from + cleanUpMs, ['killed', 'paused']) !== undefined
      // What was committed before is what the logout revokes; other successes their holders have to see to.
      const open = receptions.filter((one) => one.outcome === 'granted' && windowOf(one, askedAt) !== 'committed')
      const isExcused =
        open.some((one) => one.isLost || isBroken(one.agent, one.at)) ||
        isBroken(agent, askedAt) ||
        outageOf(agent, askedAt - reconnectMs, answeredAt, away) !== undefined
      if (isExcused) continue
      checkedLogouts += 1
      const last = receptions.at(-1)?.token
      if (last !== undefined && isAlive(last)) {
        history.violate('no refresh token works after a logout', 'the authorization server still takes it', id)
      }
    }
    return { checkedLogouts, forgottenLogouts }
  }

  const secondSends = checkSecondSends()
  for (const session of history.sessions.values()) checkLoss(session)
  checkRevivals()
  checkDeletions()
  return { secondSends, windows: countWindows(), losses, overtaken, ...checkLeftovers() }
}

function key(event: string, session: string | undefined, generation: number | undefined): string {
  return `${event} ${session} ${generation}`
}

/** Which fault a violation is put down to: the last one that struck its session, or any of the last ones that struck all. */
export function faultOf(
  violation: { readonly at: number; readonly session: string | undefined },
  faults: readonly Fault[],
): Fault | undefined {
  const before = faults
    .filter(({ injectedAt }) => injectedAt !== undefined && injectedAt <= violation.at)
    .toSorted((a, b) => (b.injectedAt ?? 0) - (a.injectedAt ?? 0))
  return before.find(({ session }) => session === violation.session && session !== undefined) ?? before[0]
}
