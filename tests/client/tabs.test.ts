import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { json } from './scripted-agent.ts'
import { failureOf, openPage, useTestBed } from './test-page.ts'

const bed = useTestBed()

const LATE = 'GET /api/late'

async function openTabs(count: number): Promise<Page[]> {
  const tabs = [await bed.logIn()]
  while (tabs.length < count) tabs.push(await bed.open())
  await Promise.all(tabs.map((tab) => tab.evaluate(() => window.client.session())))
  return tabs
}

function call(tab: Page, path: string): Promise<number> {
  return tab.evaluate(async (to) => (await window.client.fetch(to)).status, path)
}

describe.each([
  ['with Web Locks', true],
  ['without Web Locks, by an election', false],
])('five tabs %s', (_name, hasLocks) => {
  const prepare = async (): Promise<void> => {
    if (!hasLocks) await bed.context.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, 'locks'))
  }

  it('refresh once when all find the access token over at the same time', async () => {
    await prepare()
    const tabs = await openTabs(5)
    expect(await tabs[0]?.evaluate(() => 'locks' in navigator)).toBe(hasLocks)
    bed.server.agent.expireAccessToken()
    const held = bed.server.hold('GET /api/orders')
    // Chromium sends equal GETs one after the other, so that the later may use the answer of the first.
    const answers = tabs.map((tab, index) => call(tab, `/api/orders?tab=${index}`))
    await held.arrived(5)
    held.release()
    expect(await Promise.all(answers)).toEqual([200, 200, 200, 200, 200])
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refresh once when one of them hears of the expiry after the others have refreshed', async () => {
    await prepare()
    const [late, ...others] = (await openTabs(5)) as [Page, ...Page[]]
    bed.server.agent.expireAccessToken()
    const answerLate = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    bed.server.script(LATE, async ({ headers }) => {
      if (!String(headers['cookie']).includes('th-at-x=1')) return undefined
      arrived.resolve()
      await answerLate.promise
      return undefined
    })
    const lateAnswer = call(late, '/api/late')
    await arrived.promise
    expect(await Promise.all(others.map((tab) => call(tab, '/api/orders')))).toEqual([200, 200, 200, 200])
    answerLate.resolve()
    expect(await lateAnswer).toBe(200)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refresh before they repeat a call when one of them has only heard that the access token is over', async () => {
    await prepare()
    const [late, other] = (await openTabs(2)) as [Page, Page]
    bed.server.agent.expireAccessToken()
    const heldLate = bed.server.hold(LATE)
    const heldRefresh = bed.server.hold('POST /oauth-agent/refresh')
    const answers = [call(late, '/api/late')]
    await heldLate.arrived(1)
    answers.push(call(other, '/api/orders'))
    await heldRefresh.arrived(1)
    await late.waitForFunction(() => window.client.current?.accessTokenExpiresIn === 0)
    heldLate.release()
    await late.waitForResponse((response) => response.url().endsWith('/api/late'))
    heldRefresh.release()
    expect(await Promise.all(answers)).toEqual([200, 200])
    expect(bed.server.receivedAt(LATE).length).toBe(2)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refresh once though they hear nothing of each other but the lock', async () => {
    await prepare()
    await bed.context.addInitScript(() => {
      const post = Reflect.get(BroadcastChannel.prototype, 'postMessage') as (message: unknown) => void
      BroadcastChannel.prototype.postMessage = function (this: BroadcastChannel, message: unknown) {
        if (this.name.endsWith('/lock')) post.call(this, message)
      }
    })
    const tabs = await openTabs(5)
    bed.server.agent.expireAccessToken()
    const held = bed.server.hold('POST /oauth-agent/refresh')
    const answers = tabs.map((tab) => call(tab, '/api/orders'))
    await held.arrived(1)
    held.release()
    expect(await Promise.all(answers)).toEqual([200, 200, 200, 200, 200])
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refresh once early, when 80 % of the life are over', async () => {
    await prepare()
    const { times } = bed.server.agent
    bed.server.agent.times = { ...times, access_token_expires_in: 59 }
    const tabs = await openTabs(5)
    bed.server.script('POST /oauth-agent/refresh', () => {
      bed.server.agent.times = times
      return undefined
    })
    expect(await Promise.all(tabs.map((tab) => call(tab, '/api/orders')))).toEqual([200, 200, 200, 200, 200])
    for (const tab of tabs) {
      await tab.waitForFunction(() => (window.client.current?.accessTokenExpiresIn ?? 0) > 200)
    }
    expect(bed.server.agent.refreshes).toBe(1)
  })
})

function reasons(tab: Page): Promise<string[]> {
  return tab.evaluate(() => window.changes.map(({ reason, otherTab }) => (otherTab ? `${reason} elsewhere` : reason)))
}

/** Refuses the request that carries a cookie of before the login, once it is told to. */
function refuseLate(route: string, cookie: string, refusal: object): { arrived: Promise<void>; answer: () => void } {
  const arrived = Promise.withResolvers<void>()
  const late = Promise.withResolvers<void>()
  bed.server.script(route, async ({ headers }) => {
    if (!String(headers['cookie']).includes(cookie)) return undefined
    arrived.resolve()
    await late.promise
    return json(401, refusal)
  })
  return { arrived: arrived.promise, answer: () => late.resolve() }
}

describe('a refresh that is refused because another tab logs in meanwhile', () => {
  const REFRESH = 'POST /oauth-agent/refresh'

  /** Another tab logs in; what it tells the others waits until told to. */
  async function logInElsewhere(): Promise<{ tellTabs: () => void }> {
    const told = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    let asked = 0
    bed.server.script('GET /oauth-agent/session', async () => {
      asked += 1
      if (asked > 1) return undefined
      done.resolve()
      await told.promise
      return undefined
    })
    const elsewhere = await bed.open()
    await elsewhere.evaluate(() => void window.client.login())
    await done.promise
    return { tellTabs: () => told.resolve() }
  }

  it.each(['before', 'after'])(
    'lets the call be repeated, and ends nothing, %s the news of the login',
    async (order) => {
      const [tab, other] = (await openTabs(2)) as [Page, Page]
      bed.server.agent.expireAccessToken()
      const refused = refuseLate(REFRESH, 'th-rt-x=1', { error_code: 'session_expired' })
      const answer = call(tab, '/api/orders')
      await refused.arrived
      const { tellTabs } = await logInElsewhere()
      if (order === 'before') {
        refused.answer()
        await answer
      }
      tellTabs()
      for (const each of [tab, other]) {
        await each.waitForFunction(() => window.changes.some(({ reason }) => reason === 'login'))
      }
      refused.answer()
      expect(await answer).toBe(200)
      expect(bed.server.receivedAt(REFRESH)).toHaveLength(1)
      for (const each of [tab, other]) {
        expect((await reasons(each)).filter((reason) => !reason.startsWith('updated'))).toEqual([
          'loaded',
          'login elsewhere',
        ])
        expect(await each.evaluate(() => window.client.current)).toMatchObject({
          isLoggedIn: true,
          accessTokenExpiresIn: expect.closeTo(300, -1),
        })
      }
    },
  )

  it('tells of the other user, if it was another one', async () => {
    const tab = await bed.logIn()
    const refused = refuseLate(REFRESH, 'th-rt-x=1', { error_code: 'session_expired' })
    const refreshed = tab.evaluate(() => window.client.refresh())
    await refused.arrived
    bed.server.agent.claims = { sub: 'somebody-else' }
    const { tellTabs } = await logInElsewhere()
    refused.answer()
    expect(await refreshed).toMatchObject({ isLoggedIn: true, idTokenClaims: { sub: 'somebody-else' } })
    expect(await reasons(tab)).toEqual(['loaded', 'login'])
    tellTabs()
  })

  it('is temporary while the agent does not say who is logged in, and an end when it says nobody is', async () => {
    const [tab, other] = (await openTabs(2)) as [Page, Page]
    bed.server.agent.endSession()
    const answers = [json(503, { error_code: 'store_unavailable' }), { status: 302, headers: { location: '/' } }]
    bed.server.script('GET /oauth-agent/session', () => answers.shift())
    for (const code of ['store_unavailable', 'network_error']) {
      expect(await failureOf(tab, () => window.client.refresh())).toMatchObject({ name: 'TemporaryError', code })
      expect(await tab.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
    }
    expect(await failureOf(tab, () => window.client.refresh())).toMatchObject({
      name: 'SessionEndedError',
      code: 'session_expired',
      status: 401,
    })
    await other.waitForFunction(() => window.client.current?.isLoggedIn === false)
    expect([await reasons(tab), await reasons(other)]).toEqual([
      ['loaded', 'ended'],
      ['loaded', 'ended elsewhere'],
    ])
    expect(bed.server.receivedAt(REFRESH)).toHaveLength(3)
  })

  it('is no circle when the agent contradicts itself', async () => {
    const tab = await bed.logIn()
    bed.server.agent.expireAccessToken()
    bed.server.script(REFRESH, () => json(401, { error_code: 'session_expired' }))
    expect(await failureOf(tab, () => window.client.fetch('/api/orders'))).toMatchObject({
      code: 'access_token_expired',
    })
    expect(bed.server.receivedAt(REFRESH)).toHaveLength(2)
  })
})

describe('a call that is refused because its session was over before another tab logged in', () => {
  /** What a login does to the cookies, and nothing that this tab could hear of. */
  function logInUnheard(tab: Page): Promise<void> {
    return tab.evaluate(async () => {
      for (const step of ['start', 'end']) {
        await fetch(`/oauth-agent/login/${step}`, { method: 'POST', headers: { 'token-handler-version': '1' } })
      }
    })
  }

  it('is repeated, and ends no session, before the news of the login', async () => {
    const [tab, other] = (await openTabs(2)) as [Page, Page]
    const refused = refuseLate(LATE, 'th-at-x=1', { code: 'session_ended' })
    const answer = call(tab, '/api/late')
    await refused.arrived
    await logInUnheard(other)
    refused.answer()
    expect(await answer).toBe(200)
    expect(bed.server.agent.refreshes).toBe(0)
    for (const each of [tab, other]) expect(await reasons(each)).toEqual(['loaded'])
  })

  it.each([
    ['the agent knows of no session either', json(200, { is_logged_in: false })],
    ['the agent cannot be asked', json(503, { error_code: 'store_unavailable' })],
  ])('ends the session in all tabs when %s', async (_name, said) => {
    const [tab, other] = (await openTabs(2)) as [Page, Page]
    bed.server.script('GET /oauth-agent/session', () => said)
    bed.server.script(LATE, () => json(401, { code: 'session_ended' }))
    expect(await failureOf(tab, () => window.client.fetch('/api/late'))).toMatchObject({
      name: 'SessionEndedError',
      code: 'session_ended',
      status: 401,
    })
    await other.waitForFunction(() => window.client.current?.isLoggedIn === false)
    expect(await reasons(other)).toEqual(['loaded', 'ended elsewhere'])
    expect(bed.server.receivedAt(LATE)).toHaveLength(1)
  })
})

describe('a call of a user in whose place another one logs in', () => {
  /** The user of now logs out in one tab, and another one logs in in the next. */
  async function changeUser(tab: Page): Promise<void> {
    await tab.evaluate(() => window.client.logout({ navigate: false }))
    bed.server.agent.claims = { sub: 'somebody-else' }
    await bed.logInThroughPages()
  }

  it.each(['access_token_expired', 'session_ended'])(
    '[D-SE-07] is not repeated as that one, when it was refused with %s',
    async (code) => {
      const [tab, other] = (await openTabs(2)) as [Page, Page]
      const arrived = Promise.withResolvers<void>()
      const late = Promise.withResolvers<void>()
      const orders: string[] = []
      bed.server.script('POST /api/orders', async ({ headers }) => {
        orders.push(/th-at-x=\d+/.exec(String(headers['cookie']))?.[0] ?? '')
        arrived.resolve()
        await late.promise
        return orders.length === 1 ? json(401, { code }) : undefined
      })
      const failure = failureOf(tab, () => window.client.fetch('/api/orders', { method: 'POST', body: 'mine' }))
      await arrived.promise
      await changeUser(other)
      await tab.waitForFunction(() => window.client.current?.idTokenClaims?.['sub'] === 'somebody-else')
      late.resolve()
      expect(await failure).toMatchObject({ name: 'TokenHandlerClientError', code: 'user_changed' })
      expect(orders).toEqual(['th-at-x=1'])
    },
  )

  it('[D-SE-07] is not sent at all, when the change shows while it waits for a refresh', async () => {
    const tab = await bed.logIn()
    bed.server.agent.expireAccessToken()
    await tab.evaluate(() => window.client.session())
    bed.server.agent.claims = { sub: 'somebody-else' }
    const failure = await failureOf(tab, () => window.client.fetch('/api/orders', { method: 'POST', body: 'mine' }))
    expect(failure).toMatchObject({ code: 'user_changed' })
    expect(bed.server.receivedAt('POST /api/orders')).toHaveLength(0)
    expect(await tab.evaluate(async () => (await window.client.fetch('/api/orders')).status)).toBe(200)
  })
})

describe('the session event', () => {
  it('tells every tab of a login, a refresh and a logout', async () => {
    const other = await bed.open()
    await other.evaluate(() => window.client.session())
    const tab = await bed.logInThroughPages()
    await other.waitForFunction(() => window.client.current?.isLoggedIn === true)
    bed.server.agent.times = { ...bed.server.agent.times, access_token_expires_in: 1000 }
    await tab.evaluate(() => window.client.refresh())
    await other.waitForFunction(() => (window.client.current?.accessTokenExpiresIn ?? 0) > 900)
    await tab.evaluate(() => window.client.logout({ navigate: false }))
    await other.waitForFunction(() => window.client.current?.isLoggedIn === false)
    expect(await reasons(other)).toEqual(['loaded', 'login elsewhere', 'updated elsewhere', 'logout elsewhere'])
    expect(await reasons(tab)).toEqual(['loaded', 'updated', 'logout'])
  })

  it('tells every tab of an end that one of them met', async () => {
    const [tab, other] = (await openTabs(2)) as [Page, Page]
    bed.server.agent.endSession()
    await tab.evaluate(() => window.client.fetch('/api/orders').catch(() => undefined))
    await other.waitForFunction(() => window.client.current?.isLoggedIn === false)
    expect(await reasons(other)).toEqual(['loaded', 'ended elsewhere'])
  })

  it('tells of another user who logged in in another tab', async () => {
    const tab = await bed.logIn()
    bed.server.agent.claims = { sub: 'somebody-else' }
    await bed.logInThroughPages()
    await tab.waitForFunction(() => window.client.current?.idTokenClaims?.['sub'] === 'somebody-else')
    expect(await reasons(tab)).toEqual(['loaded', 'login elsewhere'])
  })

  it('does not come from late news of a refresh by the user before', async () => {
    const tab = await bed.logIn()
    const other = await bed.open()
    await other.evaluate(() => {
      const channel = new BroadcastChannel(`token-handler/1:${location.origin}/oauth-agent/`)
      const tell = (reason: string, sub: string): void => {
        const session = { isLoggedIn: true, idTokenClaims: { sub }, accessTokenExpiresIn: 300, receivedAt: 0 }
        // oxlint-disable-next-line require-post-message-target-origin -- a BroadcastChannel reaches its own origin only
        channel.postMessage({ session, reason, renewed: true, sentAt: Date.now() })
      }
      tell('login', 'somebody-else')
      tell('updated', 'demo')
      tell('updated', 'somebody-else')
    })
    await tab.waitForFunction(() => window.changes.at(-1)?.reason === 'updated')
    expect(await reasons(tab)).toEqual(['loaded', 'login elsewhere', 'updated elsewhere'])
    expect(await tab.evaluate(() => window.client.current?.idTokenClaims)).toEqual({ sub: 'somebody-else' })
  })

  it('is silent when only time has passed', async () => {
    const tab = await bed.logIn()
    await tab.evaluate(() => window.client.session())
    await tab.evaluate(() => window.client.session())
    expect(await reasons(tab)).toEqual(['loaded'])
  })

  it('does not come from an answer that was on its way during a logout', async () => {
    const tab = await bed.logIn()
    const late = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    bed.server.script('GET /oauth-agent/session', async () => {
      arrived.resolve()
      await late.promise
      return { status: 200, headers: { 'content-type': 'application/json' }, body: '{"is_logged_in":true}' }
    })
    const answer = tab.evaluate(async () => (await window.client.session()).isLoggedIn)
    await arrived.promise
    await tab.evaluate(() => window.client.logout({ navigate: false }))
    late.resolve()
    expect(await answer).toBe(false)
    expect(await reasons(tab)).toEqual(['loaded', 'logout'])
  })

  it('stops with the subscription', async () => {
    const tab = await bed.logIn()
    const count = await tab.evaluate(async () => {
      let events = 0
      window.client.on('session', () => (events += 1))()
      await window.client.refresh()
      return events
    })
    expect(count).toBe(0)
  })

  it('is told to all listeners, and calls end as they do, though one of the listeners throws', async () => {
    const tab = await bed.logIn()
    const mistakes: string[] = []
    tab.on('pageerror', ({ message }) => mistakes.push(message))
    const heard = await tab.evaluate(async () => {
      const client = window.library.createTokenHandlerClient({ postLogoutPath: '/goodbye' })
      const told: string[] = []
      client.on('session', () => {
        throw new Error('a mistake of the application')
      })
      client.on('session', ({ reason }) => told.push(reason))
      window.client = client
      const { isLoggedIn } = await client.session()
      return { isLoggedIn, told }
    })
    expect(heard).toEqual({ isLoggedIn: true, told: ['loaded'] })
    await tab.evaluate(() => void window.client.logout())
    await tab.waitForURL(`${bed.server.origin}/goodbye`)
    expect(mistakes).toEqual(['a mistake of the application', 'a mistake of the application'])
  })

  it('is missed, and no call fails, when the client is closed while a call is under way', async () => {
    const tab = await bed.logIn()
    const held = bed.server.hold('POST /oauth-agent/refresh')
    const answer = tab.evaluate(async () => (await window.client.refresh()).isLoggedIn)
    await held.arrived(1)
    await tab.evaluate(() => window.client.close())
    held.release()
    expect(await answer).toBe(true)
    expect(await reasons(tab)).toEqual(['loaded'])
  })

  it('reaches tabs of this browser only', async () => {
    const tab = await bed.logIn()
    const elsewhere = await bed.browser.newContext()
    const stranger = await openPage(elsewhere, bed.server.origin)
    await stranger.evaluate(() => window.client.session())
    await tab.evaluate(() => window.client.logout({ navigate: false }))
    await stranger.evaluate(() => window.client.session())
    expect(await reasons(stranger)).toEqual(['loaded'])
    await elsewhere.close()
  })
})
