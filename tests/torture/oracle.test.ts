import { describe, expect, it } from '@jest/globals'
import { History, tokenId, type Reception, type TorturedSession } from './history.ts'
import { examine, type Findings } from './oracle.ts'
import type { Rotation } from './token-families.ts'

/** The story of one session, told event by event; each moment is a second after the one before. */
class Story {
  readonly history = new History()
  readonly session: TorturedSession
  isAlive = false
  #now = 1_000_000

  constructor() {
    this.session = {
      id: 'session',
      browser: 0,
      tag: 'tag',
      startedAt: this.tick(),
      logout: undefined,
      loss: undefined,
      aliveAt: 0,
      stolenAt: undefined,
    }
    this.history.begin(this.session, 'token 0')
    for (let depth = 0; depth < 9; depth++) this.history.descend(`token ${depth}`, `token ${depth + 1}`)
  }

  tick(): number {
    return (this.#now += 1000)
  }

  /** A refresh token of a depth reaches the authorization server. */
  received(depth: number, outcome: Reception['outcome'], more: Partial<Reception> = {}): void {
    const at = this.tick()
    const token = tokenId(`token ${depth}`)
    const processedAt = outcome === 'none' ? undefined : at
    this.history.receptions.push({
      at,
      agent: 0,
      token,
      outcome,
      processedAt,
      isHarmless: false,
      isLost: false,
      ...more,
    })
  }

  logged(event: string, generation: number, agent = 0): void {
    this.history.events.push({ at: this.tick(), agent, event, session: 'session', generation })
  }

  broke(kind: 'killed' | 'paused' | 'store', agent?: number): void {
    this.history.outages.push({ kind, agent, from: this.tick(), to: this.tick() })
  }

  lost(answer: 'expired' | 'superseded' | 'not_logged_in', generation: number): void {
    this.session.loss = { at: this.tick(), answer, generation }
  }

  loggedOut(agent = 0): void {
    this.session.logout = { askedAt: this.tick(), answeredAt: this.tick(), agent }
  }

  end(rotation: Rotation = 'strict'): { findings: Findings; broken: string[] } {
    const findings = examine({
      history: this.history,
      rotation,
      leaseMs: 9000,
      reconnectMs: 0,
      isAlive: () => this.isAlive,
    })
    return { findings, broken: this.history.violations.map(({ promise, detail }) => `${promise}: ${detail}`) }
  }
}

/** A generation is committed, and its doubt resolved by sending it again. */
function lostInWindow(story: Story, why: () => void): void {
  story.received(0, 'granted')
  why()
  story.logged('refresh_in_doubt', 0, 1)
  story.received(0, 'refused', { agent: 1 })
  story.lost('expired', 0)
}

describe('the oracle', () => {
  it('finds nothing wrong with a session that is refreshed', () => {
    const story = new Story()
    story.received(0, 'granted')
    story.logged('session_refreshed', 0)
    story.received(1, 'granted')
    story.logged('session_refreshed', 1)
    expect(story.end()).toMatchObject({ broken: [], findings: { secondSends: 0, windows: 0 } })
  })

  it('takes a second send for a broken promise, unless it was reported as a doubt or the first was surely not processed', () => {
    const blind = new Story()
    blind.received(0, 'none')
    blind.received(0, 'granted')
    expect(blind.end().broken).toEqual([
      'no refresh token is sent again except from doubt: generation 0 was sent 1 more times, 0 of them in doubt',
    ])
    const doubting = new Story()
    doubting.received(0, 'none')
    doubting.logged('refresh_in_doubt', 0)
    doubting.received(0, 'granted')
    expect(doubting.end()).toMatchObject({ broken: [], findings: { secondSends: 1 } })
    const harmless = new Story()
    harmless.received(0, 'none', { isHarmless: true })
    harmless.received(0, 'granted')
    expect(harmless.end()).toMatchObject({ broken: [], findings: { secondSends: 0 } })
  })

  it.each(['killed', 'paused'] as const)('explains a loss whose holder was %s between success and commit', (kind) => {
    const story = new Story()
    lostInWindow(story, () => story.broke(kind, 0))
    expect(story.end()).toMatchObject({ broken: [], findings: { losses: { [kind]: 1 }, windows: 1 } })
  })

  it('knows that a commit may come between the decision to send again and the arrival', () => {
    const story = new Story()
    lostInWindow(story, () => story.broke('paused', 0))
    const commits = story.history.events.map((doubt) => ({
      ...doubt,
      at: doubt.at + 1,
      event: 'session_refreshed',
      agent: 0,
    }))
    story.history.events.push(...commits)
    expect(story.end()).toMatchObject({ broken: [], findings: { losses: { paused: 1 } } })
  })

  it('explains a loss whose answer was cut, and one whose holder alone had no store', () => {
    const cut = new Story()
    cut.received(0, 'granted', { isLost: true })
    cut.logged('refresh_in_doubt', 0, 1)
    cut.received(0, 'refused', { agent: 1 })
    cut.lost('expired', 0)
    expect(cut.end()).toMatchObject({ broken: [], findings: { losses: { cut: 1 }, windows: 1 } })
    const cutOff = new Story()
    lostInWindow(cutOff, () => cutOff.history.outages.push({ kind: 'store', agent: 0, from: 0, to: undefined }))
    expect(cutOff.end()).toMatchObject({ broken: [], findings: { losses: { 'cut off from the store': 1 } } })
  })

  it('does not take the store being away for all for an explanation', () => {
    const story = new Story()
    lostInWindow(story, () => story.broke('store'))
    expect(story.end().broken[0]).toContain('nothing kept agent 0 from committing generation 0')
  })

  it('does not explain a loss by the death of another agent, nor of one that had committed', () => {
    const other = new Story()
    lostInWindow(other, () => other.broke('killed', 2))
    expect(other.end().broken[0]).toContain('nothing kept agent 0 from committing generation 0')
    const committed = new Story()
    lostInWindow(committed, () => {
      committed.logged('session_refreshed', 0)
      committed.broke('killed', 0)
    })
    expect(committed.end().broken[0]).toContain('generation 0 was committed, and sent again')
  })

  it('wants a loss to be reported as refresh_in_doubt', () => {
    const story = new Story()
    story.received(0, 'granted')
    story.broke('killed', 0)
    story.received(0, 'refused', { agent: 1 })
    story.lost('expired', 0)
    expect(story.end().broken).toContain(
      'a session is lost only in a window: expired: not reported as refresh_in_doubt',
    )
  })

  it.each(['grace', 'static'] as const)('explains no loss where refresh tokens are %s', (rotation) => {
    const story = new Story()
    lostInWindow(story, () => story.broke('killed', 0))
    expect(story.end(rotation).broken.at(-1)).toContain(`with refresh tokens that are ${rotation}`)
  })

  it('explains no loss that the authorization server knows nothing of', () => {
    const story = new Story()
    story.received(0, 'granted')
    story.logged('session_refreshed', 0)
    story.lost('not_logged_in', 1)
    expect(story.end().broken[0]).toContain('showed generation 1 of 1, which the authorization server never refused')
  })

  it('lets old cookies be refused when a step between was never committed, or a thief made too many', () => {
    const killed = new Story()
    killed.received(0, 'granted')
    killed.broke('killed', 0)
    killed.received(1, 'granted')
    killed.logged('session_refreshed', 1)
    killed.lost('superseded', 0)
    expect(killed.end()).toMatchObject({ broken: [], findings: { losses: { killed: 1 } } })
    const overtaken = new Story()
    for (const depth of [0, 1, 2, 3]) {
      overtaken.received(depth, 'granted')
      overtaken.logged('session_refreshed', depth)
    }
    overtaken.lost('superseded', 0)
    expect(overtaken.end().broken[0]).toContain('showed generation 0 of 4')
    overtaken.session.stolenAt = 1
    overtaken.history.violations.length = 0
    expect(overtaken.end()).toMatchObject({ broken: [], findings: { overtaken: 1 } })
  })

  it('takes an answer after a logout for a revival, unless nobody could know of the logout', () => {
    const revive = (story: Story): void => {
      const sentAt = story.tick()
      story.history.revivals.push({ sentAt, at: sentAt, session: 'session', agent: 1, what: 'new cookies' })
    }
    const revived = new Story()
    revived.loggedOut()
    revive(revived)
    expect(revived.end().broken[0]).toBe('nothing comes back after a logout: new cookies from agent 1')
    const unwritten = new Story()
    unwritten.history.outages.push({ kind: 'store', agent: undefined, from: 0, to: unwritten.tick() + 2000 })
    unwritten.loggedOut()
    revive(unwritten)
    expect(unwritten.end().broken).toEqual([])
    for (let second = 0; second < 10; second++) unwritten.tick()
    revive(unwritten)
    expect(unwritten.end().broken).toHaveLength(1)
  })

  it('gives a logout the time that it takes to be written down after the last of several outages', () => {
    const story = new Story()
    story.broke('store', 0)
    story.broke('paused', 0)
    story.loggedOut(0)
    const { askedAt = 0, answeredAt = 0 } = story.session.logout ?? {}
    story.history.outages.forEach((outage, index) => (outage.to = [askedAt, answeredAt][index]))
    const revival = { session: 'session', agent: 1, what: 'is_logged_in' } as const
    story.history.revivals.push({ ...revival, sentAt: answeredAt + 2000, at: answeredAt + 2010 })
    expect(story.end().broken).toEqual([])
    story.history.revivals.push({ ...revival, sentAt: answeredAt + 2600, at: answeredAt + 2610 })
    expect(story.end().broken).toEqual(['nothing comes back after a logout: is_logged_in from agent 1'])
  })

  it('takes deleted cookies of a session that is alive for a broken promise', () => {
    const story = new Story()
    story.history.deletions.push({ at: story.tick(), session: 'session' })
    expect(story.end().broken).toEqual([
      'cookies are deleted only when the session is over: deleted while it was alive',
    ])
    const refused = new Story()
    refused.received(0, 'refused')
    refused.history.deletions.push({ at: refused.tick(), session: 'session' })
    expect(refused.end().broken).toEqual([])
  })

  it('looks for refresh tokens that still work after a logout, unless whoever had to revoke them was broken', () => {
    const alive = new Story()
    alive.isAlive = true
    alive.received(0, 'granted')
    alive.logged('session_refreshed', 0)
    alive.loggedOut()
    expect(alive.end()).toMatchObject({ findings: { checkedLogouts: 1 } })
    expect(alive.history.violations[0]?.promise).toBe('no refresh token works after a logout')
    const settled = new Story()
    settled.isAlive = true
    settled.received(0, 'granted')
    settled.logged('session_refreshed', 0)
    settled.broke('killed', 0)
    settled.loggedOut(1)
    expect(settled.end()).toMatchObject({ findings: { checkedLogouts: 1 } })
    const open = new Story()
    open.isAlive = true
    open.received(0, 'granted', { isLost: true })
    open.loggedOut(1)
    expect(open.end()).toMatchObject({ broken: [], findings: { checkedLogouts: 0 } })
    const killed = new Story()
    killed.isAlive = true
    killed.loggedOut()
    killed.broke('killed', 0)
    expect(killed.end()).toMatchObject({ broken: [], findings: { checkedLogouts: 0 } })
  })
})
