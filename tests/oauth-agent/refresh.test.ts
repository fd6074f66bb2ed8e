import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  createMemoryLedger,
  epochSeconds,
  systemClock,
  type AccessCookieClaims,
  type Ledger,
} from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { json, type Script } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { startAgent, trustedOrigin, type AgentAnswer, type Browser, type RunningAgent } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'
import { faultyLedger, type FaultyLedger } from './faulty-ledger.ts'

let scripted: Scripted
let inner: Ledger
let ledger: FaultyLedger
const replicas: RunningAgent[] = []

beforeEach(async () => {
  const clock = fakeClock()
  inner = createMemoryLedger(clock)
  ledger = faultyLedger(inner)
  scripted = await startScripted({ clock, ledger: ledger.ledger })
})
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((one) => one.close()))
  await scripted.close()
})

/** Another agent with the same keys and authorization server, and with the same ledger unless another is given. */
async function replica(own = scripted.agent.ledger): Promise<RunningAgent> {
  const { server, clock, keys, agent } = scripted
  const { issuer, clientId, clientSecret } = server
  const clientAuthentication = { method: 'client_secret_basic', clientSecret } as const
  const { timeoutSeconds } = agent.options.authorizationServer
  const started = await startAgent({
    issuer,
    clientId,
    clientAuthentication,
    clock,
    keys,
    ledger: own,
    authorizationServer: { timeoutSeconds },
  })
  replicas.push(started)
  return started
}

const refreshes = (): number => scripted.server.count('token', 'refresh_token')
const refreshLine = ({ setCookies }: AgentAnswer): string | undefined =>
  setCookies.find((line) => line.startsWith('__Secure-th-rt-'))
const sessionNames = (browser: Browser): string[] =>
  browser.jar.names().map((name) => name.replace(/^__(?:Host-Http|Secure)-th-(\w+).*$/, '$1'))

function refreshTokenOf({ jar }: Browser): string {
  const [name = ''] = jar.names().filter((one) => one.includes('-rt-'))
  const opened = scripted.agent.sealer.open<{ exp: number; rt: string }>('refresh-token', jar.get(name)[0]?.value ?? '')
  return opened.ok ? opened.claims.rt : ''
}

/** What the browser's access cookie holds. */
function accessOf({ jar }: Browser): AccessCookieClaims {
  const [name = ''] = jar.names().filter((one) => one.includes('-at-'))
  const opened = scripted.agent.sealer.open<AccessCookieClaims>('access-token', jar.get(name)[0]?.value ?? '')
  if (!opened.ok) throw new Error(opened.reason)
  return opened.claims
}

describe('a refresh', () => {
  it('[B-RT-02][C-115] gives successor cookies and the times, ten times in a row', async () => {
    const browser = await scripted.loggedIn()
    for (let round = 0; round < 10; round++) {
      scripted.clock.advanceSeconds(100)
      const answer = await browser.post('refresh')
      expect(answer.text).toBe(
        `{"access_token_expires_in":300,"access_token_lifetime":300,"session_expires_in":${43_100 - round * 100},"idle_expires_in":3600}`,
      )
      expect(answer.setCookies.map((line) => line.replace(/-[\w-]{8}=.*/, ''))).toEqual([
        '__Secure-th-at',
        '__Secure-th-id',
        '__Secure-th-rt',
      ])
      expect(refreshLine(answer)).toContain(`Max-Age=${43_100 - round * 100};`)
      expect(scripted.leaks(answer)).toEqual([])
    }
    expect(scripted.server.hasLiveGrant).toBe(true)
  })

  it('[B-RT-02][C-115][A-01] keeps the refresh token when the answer brings none, and always says who asks', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.isRotating = false
    for (let round = 0; round < 3; round++) {
      scripted.server.tokenAnswer = { refresh_token: round === 1 ? '' : undefined }
      expect((await browser.post('refresh')).status).toBe(200)
    }
    expect(refreshes()).toBe(3)
    expect(scripted.server.calls.every((call) => call.endpoint !== 'token' || call.authorization)).toBe(true)
  })

  it('[C-49] shows the claims of the new ID token, and keeps the old ones when there is none', async () => {
    const browser = await scripted.loggedIn()
    const nameOf = async (): Promise<unknown> =>
      ((await browser.get('session')).json['id_token_claims'] as { name: unknown }).name
    scripted.server.idToken = { claims: { name: 'Married Name', nonce: undefined } }
    await browser.post('refresh')
    expect(await nameOf()).toBe('Married Name')
    scripted.server.tokenAnswer = { id_token: undefined }
    const answer = await browser.post('refresh')
    expect(answer.setCookies.some((line) => line.includes('-id-'))).toBe(false)
    expect(await nameOf()).toBe('Married Name')
  })

  it('[C-115] has the scope of the last answer that named one, whether it is narrower or wider', async () => {
    const browser = await scripted.loggedIn()
    const scopes: unknown[] = []
    for (const scope of ['openid', undefined, 'openid profile email admin', undefined, '']) {
      scripted.server.tokenAnswer = { scope }
      expect((await browser.post('refresh')).status).toBe(200)
      scopes.push(accessOf(browser).scope)
    }
    expect(scopes).toEqual(['openid', 'openid', 'openid profile email admin', 'openid profile email admin', undefined])
    expect(scripted.server.calls.map(({ form }) => form.get('scope'))).not.toContainEqual(expect.any(String))
  })

  it('[B-RT-01] takes no parameters but those on the list, and no token from the browser', async () => {
    const browser = await scripted.loggedIn()
    for (const name of ['refresh_token', 'scope', 'grant_type', 'client_id']) {
      expect((await browser.post('refresh', { [name]: 'x' })).json['error_code']).toBe('invalid_request')
    }
    expect(refreshes()).toBe(0)
    const other = await startScripted({ options: { refreshParameters: ['audience'] } })
    const second = await other.loggedIn()
    await second.post('refresh', { audience: 'x' })
    expect(other.server.calls.at(-1)?.form.get('audience')).toBe('x')
    await other.close()
  })

  it('[B-RT-08][C-07] asks for no scope, and goes on with less than before where less is granted', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.tokenAnswer = { scope: 'openid' }
    expect((await browser.post('refresh')).status).toBe(200)
    const [name = ''] = browser.jar.names().filter((one) => one.includes('-at-'))
    const opened = scripted.agent.sealer.open<AccessCookieClaims>('access-token', browser.jar.get(name)[0]?.value ?? '')
    expect(opened.ok && opened.claims.scope).toBe('openid')
    expect((await browser.post('refresh')).status).toBe(200)
    const sent = scripted.server.calls.filter(({ form }) => form.get('grant_type') === 'refresh_token')
    expect(sent.map(({ form }) => form.has('scope'))).toEqual([false, false])
  })

  it('[B-RT-08][C-07] asks for a part of what was granted where that is left to the SPA, and never for more', async () => {
    const other = await startScripted({ options: { refreshParameters: ['scope'] } })
    const browser = await other.loggedIn()
    for (const scope of ['openid profile email', 'admin', '', 'openid  profile', 'openid "']) {
      const answer = await browser.post('refresh', { scope })
      expect([scope, answer.status, answer.json['error_code']]).toEqual([scope, 400, 'invalid_request'])
    }
    expect(other.server.count('token', 'refresh_token')).toBe(0)
    other.server.tokenAnswer = { scope: undefined }
    expect((await browser.post('refresh', { scope: 'profile' })).status).toBe(200)
    expect(other.server.calls.at(-1)?.form.get('scope')).toBe('profile')
    const [name = ''] = browser.jar.names().filter((one) => one.includes('-at-'))
    const opened = other.agent.sealer.open<AccessCookieClaims>('access-token', browser.jar.get(name)[0]?.value ?? '')
    expect(opened.ok && opened.claims.scope).toBe('profile')
    await other.close()
  })

  it('[B-RT-09] is the SPA’s alone to ask for, and its answer is never stored', async () => {
    const browser = await scripted.loggedIn()
    for (const headers of [
      { origin: 'https://evil.test' },
      { origin: 'http://other.localhost:3000', 'sec-fetch-site': 'same-site' },
      { 'token-handler-version': '' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      const answer = await browser.post('refresh', undefined, headers)
      expect([answer.status, answer.setCookies, answer.headers.get('cache-control')]).toEqual([403, [], 'no-store'])
    }
    expect((await browser.get('refresh')).status).toBe(405)
    expect(refreshes()).toBe(0)
    const answer = await browser.post('refresh')
    expect([answer.status, answer.headers.get('cache-control'), answer.headers.get('etag')]).toEqual([
      200,
      'no-store',
      null,
    ])
  })

  it('[E-CK-02] never moves the absolute deadline, and ends there', async () => {
    const browser = await scripted.loggedIn()
    for (let hour = 0; hour < 23; hour++) {
      scripted.clock.advanceSeconds(1800)
      expect((await browser.post('refresh')).status).toBe(200)
    }
    scripted.clock.advanceSeconds(1750)
    const last = await browser.post('refresh')
    expect(last.json).toMatchObject({ access_token_expires_in: 50, session_expires_in: 50, idle_expires_in: 50 })
    const cookie = browser.jar.header(scripted.agent.url)
    scripted.clock.advanceSeconds(51)
    expect(browser.jar.names()).toEqual([])
    const answer = await browser.post('refresh', undefined, { cookie })
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
  })

  it('is refused after the idle deadline, which session calls do not move', async () => {
    const browser = await scripted.loggedIn()
    for (let minute = 0; minute < 59; minute++) {
      scripted.clock.advanceSeconds(60)
      expect((await browser.get('session')).json['idle_expires_in']).toBe(3600 - (minute + 1) * 60)
    }
    scripted.clock.advanceSeconds(60)
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    expect(sessionNames(browser)).toEqual(['sid'])
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it('does not keep a session from becoming idle when it is marked as background', async () => {
    const browser = await scripted.loggedIn()
    const mark = { 'token-handler-background': '1' }
    scripted.clock.advanceSeconds(3000)
    const polled = await browser.post('refresh', undefined, mark)
    expect([polled.json['access_token_expires_in'], polled.json['idle_expires_in']]).toEqual([300, 600])
    scripted.clock.advanceSeconds(500)
    expect((await browser.post('refresh')).json['idle_expires_in']).toBe(3600)
    scripted.clock.advanceSeconds(3000)
    await browser.post('refresh', undefined, mark)
    scripted.clock.advanceSeconds(600)
    expect((await browser.post('refresh', undefined, mark)).json['error_code']).toBe('session_expired')
  })

  it('counts as activity though a background one is under way for the same cookies', async () => {
    const browser = await scripted.loggedIn()
    const cookie = browser.jar.header(scripted.agent.url)
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      await gate.promise
      return standard()
    }
    scripted.clock.advanceSeconds(3000)
    const polled = browser.post('refresh', undefined, { cookie, 'token-handler-background': '1' })
    await until('it is under way', () => refreshes() === 1)
    const asked = browser.post('refresh', undefined, { cookie })
    await until('the other one waits', async () => (await browser.get('session')).json['idle_expires_in'] === 3600)
    gate.resolve()
    expect([(await polled).status, (await asked).status, refreshes()]).toEqual([200, 200, 1])
  })

  it('[F-EN-6] with a left-over refresh cookie alone is one clean 401, and asks nobody', async () => {
    const browser = await scripted.loggedIn()
    const rt = browser.jar.names().find((name) => name.includes('-rt-')) ?? ''
    const cookie = `${rt}=${browser.jar.get(rt)[0]?.value}`
    const answer = await scripted.agent.browser().post('refresh', undefined, { cookie })
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    expect(scripted.server.count('token', 'refresh_token')).toBe(0)
    expect(await scripted.agent.browser().get('session', { cookie })).toMatchObject({ json: { is_logged_in: false } })
  })

  it('without any session is a 401 that sets nothing', async () => {
    const answer = await scripted.agent.browser().post('refresh')
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([401, 'session_expired', []])
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('of a session without refresh token answers the time left, then that it is over', async () => {
    scripted.server.tokenAnswer = { refresh_token: undefined }
    const browser = await scripted.loggedIn()
    scripted.clock.advanceSeconds(100)
    expect((await browser.post('refresh')).json).toMatchObject({ access_token_expires_in: 200 })
    scripted.clock.advanceSeconds(201)
    expect((await browser.post('refresh')).json['error_code']).toBe('session_expired')
    expect(refreshes()).toBe(0)
  })
})

describe('many refreshes at once', () => {
  it('[A-24][B-RT-04][F-RO-5][G-7] become one call, in one process', async () => {
    const browser = await scripted.loggedIn()
    const answers = await Promise.all(Array.from({ length: 50 }, () => browser.post('refresh')))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(refreshLine)).size).toBe(1)
    expect(refreshes()).toBe(1)
  })

  it('[B-RT-04] become one call on two replicas; both give the same generation', async () => {
    const browser = await scripted.loggedIn()
    const other = (await replica()).browser(browser.jar)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? browser : other).post('refresh')),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map((answer) => refreshLine(answer)?.split(';')[0])).size).toBe(1)
    expect(refreshes()).toBe(1)
    expect((await browser.post('refresh')).status).toBe(200)
  })

  it('[F-DU-1][F-NA-8] of different users never get mixed up', async () => {
    const browsers: Browser[] = []
    for (let user = 0; user < 20; user++) {
      scripted.server.subject = `user-${user}`
      browsers.push(await scripted.loggedIn())
    }
    const tokensOf = new Map<string, unknown>()
    scripted.server.script.token = async ({ form, standard }) => {
      const shown = form.get('refresh_token') ?? ''
      const index = [...new Set(scripted.server.issued)].indexOf(shown)
      await new Promise((resolve) => setTimeout(resolve, (index * 7) % 20))
      scripted.server.tokenAnswer = { id_token: undefined }
      const answer = await standard()
      tokensOf.set(shown, (JSON.parse(answer.body) as Record<string, unknown>)['access_token'])
      return answer
    }
    const before = browsers.map(refreshTokenOf)
    await Promise.all(browsers.map((browser) => browser.post('refresh')))
    for (const [user, browser] of browsers.entries()) {
      const { json: session } = await browser.get('session')
      expect(session['id_token_claims']).toMatchObject({ sub: `user-${user}` })
      expect(accessOf(browser).at).toBe(tokensOf.get(before[user] ?? ''))
    }
    expect(new Set(tokensOf.values()).size).toBe(20)
    expect(refreshes()).toBe(20)
  })
})

describe('row 3: a refresh that takes long', () => {
  it('keeps no browser longer than eight seconds, and finds its way to the browser afterwards', async () => {
    const gate = Promise.withResolvers<void>()
    const slow = await startScripted({ authorizationServer: { timeoutSeconds: 45 } })
    const [alive, expired] = [await slow.loggedIn(), await slow.loggedIn()]
    slow.clock.advanceSeconds(200)
    slow.server.script.token = async ({ standard }) => {
      await gate.promise
      return standard()
    }
    const first = alive.post('refresh')
    await until('the first is under way', () => slow.server.count('token', 'refresh_token') === 1)
    slow.clock.advanceSeconds(99)
    expect(await first.then(({ status, json: body }) => [status, body['access_token_expires_in']])).toEqual([200, 1])
    slow.clock.advanceSeconds(2)
    const late = await expired.post('refresh')
    expect([late.status, late.json['error_code'], late.headers.get('retry-after')]).toEqual([
      503,
      'refresh_pending',
      '1',
    ])
    expect([...late.setCookies]).toEqual([])
    gate.resolve()
    slow.server.script = {}
    for (const browser of [alive, expired]) {
      expect((await browser.post('refresh')).json['access_token_expires_in']).toBe(300)
    }
    expect(slow.server.hasLiveGrant).toBe(true)
    await slow.close()
  }, 60_000)
})

describe('row 5: the authorization server surely did not process it', () => {
  it.each<[string, Script, string | null]>([
    ['429', () => ({ status: 429, headers: { 'retry-after': '7' }, body: '' }), '7'],
    ['503 with an OAuth error', () => json(503, { error: 'temporarily_unavailable' }), '2'],
    ['invalid_client', () => json(401, { error: 'invalid_client' }), '2'],
    ['invalid_client with a challenge', clientChallenge, '2'],
    ['invalid_scope', () => json(400, { error: 'invalid_scope' }), '2'],
  ])('[A-26] %s leaves the session as it is', async (_what, script, retryAfter) => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = script
    const alive = await browser.post('refresh')
    expect([alive.status, alive.json['access_token_expires_in'], alive.setCookies]).toEqual([200, 300, []])
    scripted.clock.advanceSeconds(301)
    const answer = await browser.post('refresh')
    expect([answer.status, answer.headers.get('retry-after'), answer.setCookies]).toEqual([503, retryAfter, []])
    scripted.server.script = {}
    expect((await browser.post('refresh')).status).toBe(200)
    expect(scripted.agent.events()).not.toContain('refresh_in_doubt')
  })

  it('a server that is not there leaves the session as it is', async () => {
    const browser = await scripted.loggedIn()
    await scripted.server.close()
    const answer = await browser.post('refresh')
    expect([answer.status, answer.setCookies]).toEqual([200, []])
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    expect(scripted.agent.events()).not.toContain('refresh_lost')
  })
})

describe('row 6 and 7: nobody knows whether it was processed', () => {
  const lost: readonly (readonly [string, Script])[] = [
    ['a reset before', ({ res }) => void res.destroy()],
    ['500', () => ({ status: 500, body: '' })],
    ['503 of a load balancer', () => ({ status: 503, body: 'busy' })],
    ['504', () => ({ status: 504, body: '' })],
    ['garbage', () => ({ status: 200, body: 'ok' })],
    ['403 of a firewall', () => ({ status: 403, body: '<html>' })],
  ]

  it.each(lost)('[C-115] %s is followed by one more try after a pause, on the same request', async (_what, script) => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = (exchange) => (refreshes() === 1 ? script(exchange) : exchange.standard())
    const answer = browser.post('refresh')
    await until('the answer is lost', () => scripted.agent.events().includes('refresh_lost'))
    expect(refreshes()).toBe(1)
    scripted.clock.advanceSeconds(2)
    expect((await answer).json['access_token_expires_in']).toBe(300)
    expect(refreshes()).toBe(2)
    expect(scripted.agent.events()).toContain('refresh_in_doubt')
  })

  it('[A-26] the session ends when the authorization server takes the second try for a reuse', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = async ({ res, standard }) => {
      const answer = await standard()
      if (refreshes() > 1) return answer
      res.destroy()
      return undefined
    }
    const answer = browser.post('refresh')
    await until('the answer is lost', () => scripted.agent.events().includes('refresh_lost'))
    scripted.clock.advanceSeconds(2)
    expect((await answer).json['error_code']).toBe('session_expired')
    expect(sessionNames(browser)).toEqual(['sid'])
  })
})

describe('a lease', () => {
  it('that got old before it was used is not used: its holder starts over', async () => {
    const browser = await scripted.loggedIn()
    let checks = 0
    ledger.replaced = {
      holds: async () => {
        if (++checks === 1) scripted.clock.advanceSeconds(5)
        return { state: 'held' }
      },
    }
    expect((await browser.post('refresh')).status).toBe(200)
    expect([checks, refreshes()]).toEqual([2, 1])
  })

  it('that ran out under its holder is not used either', async () => {
    const browser = await scripted.loggedIn()
    let checks = 0
    ledger.replaced = { holds: async () => ({ state: ++checks === 1 ? 'lost' : 'held' }) }
    const answer = browser.post('refresh')
    await until('it was checked', () => checks === 1)
    scripted.clock.advanceSeconds(20)
    expect((await answer).status).toBe(200)
    expect([checks, refreshes()]).toEqual([2, 1])
  })
})

describe('row 8: a refusal', () => {
  it('[A-27] of a grant that was revoked at the authorization server ends the session with its access token', async () => {
    const browser = await scripted.loggedIn()
    const token = scripted.server.issued.find((value) => value.startsWith('canary-refresh')) ?? ''
    await fetch(`${scripted.server.issuer}/revoke`, { method: 'POST', body: new URLSearchParams({ token }) })
    expect(scripted.server.isRevoked(token)).toBe(true)
    expect(sessionNames(browser)).toContain('at')
    scripted.clock.advanceSeconds(300)
    expect(sessionNames(browser)).not.toContain('at')
    expect((await browser.post('refresh')).json['error_code']).toBe('session_expired')
    expect(sessionNames(browser)).toEqual(['sid'])
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it('[A-26][F-OP-11][C-115] ends the session, clears its cookies and leaves the sid cookie to logout', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = () => json(400, { error: 'invalid_grant' })
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    expect(sessionNames(browser)).toEqual(['sid'])
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it.each(['interaction_required', 'login_required', 'consent_required'])(
    '[A-26] is %s too, which only a login mends; the refresh token goes',
    async (error) => {
      const browser = await scripted.loggedIn()
      scripted.server.script.token = () => json(400, { error })
      const answer = await browser.post('refresh')
      expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
      expect(sessionNames(browser)).toEqual(['sid'])
      expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
      await until('the refresh token is revoked', () => !scripted.server.hasLiveGrant)
    },
  )

  it.each([429, 503])('[A-26] is no %d with such an error', async (status) => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = () => json(status, { error: 'login_required' })
    expect((await browser.post('refresh')).json['access_token_expires_in']).toBe(300)
    scripted.server.script = {}
    expect((await browser.post('refresh')).status).toBe(200)
  })

  it('is no end when another replica was faster: its success is given instead', async () => {
    const browser = await scripted.loggedIn()
    const before = browser.jar.header(scripted.agent.url)
    const other = (await replica()).browser()
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      if (refreshes() > 1) return standard()
      await gate.promise
      return json(400, { error: 'invalid_grant' })
    }
    const slow = browser.post('refresh')
    await until('the first is under way', () => refreshes() === 1)
    scripted.clock.advanceSeconds(60)
    expect((await other.post('refresh', undefined, { cookie: before })).status).toBe(200)
    gate.resolve()
    expect((await slow).status).toBe(200)
    expect((await browser.post('refresh')).status).toBe(200)
  })
})

describe('rows 9 to 11: older cookies', () => {
  it('lead to the newest ones as long as the browser may have missed them, without another call', async () => {
    const browser = await scripted.loggedIn()
    const old = browser.jar.snapshot()
    await browser.post('refresh')
    await browser.post('refresh')
    expect(refreshes()).toBe(2)
    browser.jar.restore(old)
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['access_token_expires_in'], refreshes()]).toEqual([200, 300, 2])
    expect((await browser.post('refresh')).status).toBe(200)
    expect(refreshes()).toBe(3)
  })

  it('lead there though the agent was stopped for long right after it had committed: the browser did not see them yet', async () => {
    const browser = await scripted.loggedIn()
    const old = browser.jar.snapshot()
    ledger.replaced.commit = async (commit) => {
      const committed = await inner.commit(commit)
      scripted.clock.advanceSeconds(61)
      return committed
    }
    expect((await browser.post('refresh')).status).toBe(200)
    ledger.replaced = {}
    browser.jar.restore(old)
    expect([(await browser.post('refresh')).status, refreshes()]).toEqual([200, 1])
  })

  it.each(['GET session', 'POST refresh'])(
    'lead there though %s with newer ones was judged a minute later, when it was sent before',
    async (call) => {
      const [method = '', path = ''] = call.split(' ')
      const browser = await scripted.loggedIn()
      const old = browser.jar.snapshot()
      await browser.post('refresh')
      scripted.clock.advanceSeconds(30)
      ledger.replaced.show = async (shown) => {
        ledger.replaced = {}
        scripted.clock.advanceSeconds(31)
        return inner.show(shown)
      }
      expect((await browser.send(method, path)).status).toBe(200)
      const sent = refreshes()
      browser.jar.restore(old)
      expect([(await browser.post('refresh')).status, refreshes()]).toEqual([200, sent])
    },
  )

  it('[E-CK-06][B-RT-05] are worth nothing once the newer ones were seen for good, and change no cookie', async () => {
    const browser = await scripted.loggedIn()
    const thief = scripted.agent.browser()
    thief.jar.restore(browser.jar.snapshot())
    await browser.post('refresh')
    scripted.clock.advanceSeconds(61)
    await browser.get('session')
    const answer = await thief.post('refresh')
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([401, 'session_superseded', []])
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    const looked = await thief.get('session')
    expect([looked.text, looked.setCookies]).toEqual(['{"is_logged_in":false}', []])
    expect(scripted.agent.events()).toContain('session_superseded')
    expect((await browser.post('refresh')).status).toBe(200)
  })

  it('end the session for everybody where that is configured', async () => {
    const strict = await startScripted({ options: { onSuperseded: 'end_session' } })
    const browser = await strict.loggedIn()
    const thief = strict.agent.browser()
    thief.jar.restore(browser.jar.snapshot())
    await browser.post('refresh')
    strict.clock.advanceSeconds(61)
    await browser.get('session')
    expect((await thief.post('refresh')).json['error_code']).toBe('session_superseded')
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
    await until('the refresh token is revoked', () => !strict.server.hasLiveGrant)
    await strict.close()
  })
})

describe('row 13: the end comes first', () => {
  it('[B-LO-09][F-NA-9] a refresh that succeeds after logout gets no cookies, and its tokens are revoked', async () => {
    const browser = await scripted.loggedIn()
    const cookie = browser.jar.header(scripted.agent.url)
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      const answer = await standard()
      await gate.promise
      return answer
    }
    const refresh = browser.post('refresh')
    await until('it is under way', () => refreshes() === 1)
    await browser.post('logout', undefined, { cookie })
    gate.resolve()
    const answer = await refresh
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    expect(answer.setCookies.every((line) => line.includes('Max-Age=0'))).toBe(true)
    const issued = scripted.server.issued.filter((value) => /^canary-(?:refresh|access)/.test(value)).slice(-2)
    const revoked = (): (string | null)[] =>
      scripted.server.calls.filter(({ endpoint }) => endpoint === 'revocation').map(({ form }) => form.get('token'))
    await until('the new tokens are revoked', () => issued.every((token) => revoked().includes(token)))
  })

  it.each<[string, string, Record<string, unknown>]>([
    ['C-51', 'another subject', { sub: 'somebody-else' }],
    ['C-50', 'another issuer', { iss: 'https://evil.test' }],
    ['B-RT-06', 'another audience', { aud: 'somebody-else' }],
    ['B-RT-06', 'another nonce', { nonce: 'another' }],
    ['B-RT-06', 'an old iat', { iat: 1 }],
    ['B-RT-06', 'an iat that is old by the clock of its answer, too', { iat: epochSeconds(systemClock) - 900 }],
    ['B-ID-07', 'an exp that is past', { exp: epochSeconds(systemClock) - 60 }],
    ['B-ID-09', 'an nbf that is to come', { nbf: 9e10 }],
  ])(
    '[B-RT-07][C-115][%s] an ID token with %s ends the session; nothing of the answer is used',
    async (_row, _what, claims) => {
      const browser = await scripted.loggedIn()
      const copied = browser.jar.header(scripted.agent.url)
      scripted.server.idToken = { claims }
      const answer = await browser.post('refresh')
      expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
      expect(sessionNames(browser)).toEqual(['sid'])
      const copy = await browser.get('session', { cookie: copied })
      expect(copy.text).toBe('{"is_logged_in":false}')
      await until('the new tokens are revoked', () => !scripted.server.hasLiveGrant)
      expect(scripted.agent.events()).toContain('subject_changed')
    },
  )
})

describe('an ID token that is fresh by the clock of its answer, and not by ours', () => {
  // The clock of the agent is years ahead of the one that the Date header is from.
  const made = epochSeconds(systemClock)

  it('[E-CK-05] goes on with the session: its refresh token is spent, and our clock may be the wrong one', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.idToken = { claims: { iat: made, nbf: made, exp: made + 60, given_name: 'New' } }
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['access_token_lifetime']]).toEqual([200, 300])
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
  })

  it('[B-ID-08] begins no session', async () => {
    scripted.server.idToken = { claims: { iat: made, exp: made + 60 } }
    expect((await scripted.logIn(scripted.agent.browser())).answer.status).toBe(502)
  })
})

describe('rows 14 and 15: a ledger that does not know the session', () => {
  it('and surely never did, ends it', async () => {
    const empty = createMemoryLedger(scripted.clock)
    const browser = await scripted.loggedIn()
    const agent = await replica(empty)
    const copy = agent.browser()
    copy.jar.restore(browser.jar.snapshot())
    expect((await copy.get('session')).text).toBe('{"is_logged_in":false}')
    expect(sessionNames(copy)).toEqual(['sid'])
    const answer = await agent.browser(browser.jar).post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    expect(sessionNames(browser)).toEqual(['sid'])
  })

  it('and may have lost it, takes the cookie at its word, once nobody else can be spending it', async () => {
    const browser = await scripted.loggedIn()
    scripted.clock.advanceSeconds(10)
    const emptied = createMemoryLedger(scripted.clock)
    const other = (await replica(emptied)).browser(browser.jar)
    expect((await other.get('session')).json['is_logged_in']).toBe(true)
    const pending = other.post('refresh')
    scripted.clock.advanceSeconds(8)
    expect((await pending).json['access_token_expires_in']).toBe(300)
    expect(refreshes()).toBe(1)
  })
})

describe('without the store', () => {
  it.each(['claimLogin', 'begin', 'complete'])(
    'a login is put off, with the time to wait, at %s',
    async (operation) => {
      const browser = scripted.agent.browser()
      const response = await scripted.callback(browser)
      ledger.cut = new Set([operation])
      const answer = await browser.post('login/end', response.searchParams)
      ledger.cut = false
      expect([answer.status, answer.json['error_code'], answer.headers.get('retry-after')]).toEqual([
        503,
        'store_unavailable',
        '2',
      ])
      expect((await browser.get('session')).json).toEqual({ is_logged_in: false })
      expect((await scripted.logIn(browser)).answer.status).toBe(200)
    },
  )

  it('a refresh is put off, and clears nothing; a session answers from its cookie', async () => {
    const browser = await scripted.loggedIn()
    ledger.cut = true
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code'], answer.headers.get('retry-after'), answer.setCookies]).toEqual([
      503,
      'store_unavailable',
      '2',
      [],
    ])
    expect((await browser.get('session')).json).toMatchObject({ is_logged_in: true, access_token_expires_in: 300 })
    expect(refreshes()).toBe(0)
    ledger.cut = false
    expect((await browser.post('refresh')).status).toBe(200)
  })

  it('a login is put off', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    ledger.cut = true
    const answer = await browser.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([503, 'store_unavailable', []])
    ledger.cut = false
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
  })

  it('a success is given to the browser all the same, and committed when the store is back', async () => {
    const browser = await scripted.loggedIn()
    const old = browser.jar.snapshot()
    ledger.cut = new Set(['commit'])
    expect((await browser.post('refresh')).json['access_token_expires_in']).toBe(300)
    ledger.cut = false
    browser.jar.restore(old)
    await until('the commit arrives', async () => (await browser.post('refresh')).setCookies.length > 0)
    expect(refreshes()).toBe(1)
    expect((await browser.post('refresh')).status).toBe(200)
    expect(scripted.server.hasLiveGrant).toBe(true)
  })

  it('[D-SEC-06][G-10] an error of our own says nothing, and does not stop the agent', async () => {
    const browser = await scripted.loggedIn()
    ledger.replaced = { show: () => Promise.reject(new TypeError('inner')) }
    const answer = await browser.get('session')
    expect([answer.status, answer.text, answer.setCookies]).toEqual([500, '{"error_code":"server_error"}', []])
    const lines = scripted.agent
      .log()
      .trim()
      .split('\n')
      .filter((line) => line.includes('inner'))
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ id: answer.headers.get('x-request-id') }])
    ledger.replaced = {}
    expect((await browser.get('session')).status).toBe(200)
  })

  it('a session that the rules end is over', async () => {
    const browser = await scripted.loggedIn()
    const copy = browser.jar.snapshot()
    await browser.post('logout')
    browser.jar.restore(copy)
    ledger.cut = true
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })
})

describe('tokens that change their size', () => {
  it('[F-NA-10][D-CK-06] leave no stale chunk behind, whether they grow or shrink', async () => {
    const wide = await startScripted({ cookies: { responseBudgetBytes: 16_000, headerBudgetBytes: 16_000 } })
    const browser = await wide.loggedIn()
    for (const size of [5000, 200, 9000, 3000, 2500, 8000, 40]) {
      wide.server.tokenAnswer = { access_token: 'a'.repeat(size), refresh_token: undefined }
      wide.server.isRotating = false
      expect((await browser.post('refresh')).status).toBe(200)
      const names = browser.jar.names().filter((name) => name.includes('-at-'))
      const expected = names.length === 1 ? [] : names.map((_, index) => `.${index}`)
      expect(names.map((name) => name.slice(-2)).filter((end) => end.startsWith('.'))).toEqual(expected)
      expect(browser.jar.refused).toEqual([])
    }
    await wide.close()
  })

  it('beyond the budget are an error that loses no refresh token: a smaller one works again', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.tokenAnswer = { access_token: 'a'.repeat(5000) }
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'token_too_large'])
    expect(sessionNames(browser).toSorted()).toEqual(['id', 'rt', 'sid'])
    expect((await browser.get('session')).json).toMatchObject({ is_logged_in: true, access_token_expires_in: 0 })
    scripted.server.tokenAnswer = {}
    expect((await browser.post('refresh')).json['access_token_expires_in']).toBe(300)
    expect(sessionNames(browser).toSorted()).toEqual(['at', 'id', 'rt', 'sid'])
  })
})

describe('a browser that is gone', () => {
  it('[D-LIM-05][F-EN-7][B-RT-03] does not lose the refresh: the next call brings its cookies', async () => {
    const browser = await scripted.loggedIn()
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      await gate.promise
      return standard()
    }
    const hangUp = new AbortController()
    const cookie = browser.jar.header(scripted.agent.url)
    const headers = { 'token-handler-version': '1', origin: trustedOrigin, cookie }
    const gone = fetch(new URL('refresh', scripted.agent.url), { method: 'POST', headers, signal: hangUp.signal })
    await until('it is under way', () => refreshes() === 1)
    hangUp.abort()
    await expect(gone).rejects.toThrow('aborted')
    gate.resolve()
    const answer = await browser.post('refresh')
    expect([answer.status, refreshes()]).toEqual([200, 1])
    expect(answer.setCookies.length).toBeGreaterThan(0)
  })

  it('[D-LIM-10] is waited for by a stop: what is under way is committed', async () => {
    const browser = await scripted.loggedIn()
    const other = await replica()
    const gate = Promise.withResolvers<void>()
    scripted.server.script.token = async ({ standard }) => {
      await gate.promise
      return standard()
    }
    const cookie = browser.jar.header(scripted.agent.url)
    const refresh = other.browser().post('refresh', undefined, { cookie })
    await until('it is under way', () => refreshes() === 1)
    let isClosed = false
    const closed = other.agent.close().then(() => {
      isClosed = true
      return undefined
    })
    await browser.get('session')
    expect(isClosed).toBe(false)
    gate.resolve()
    await closed
    expect((await refresh).status).toBe(200)
    expect((await browser.post('refresh')).setCookies.length).toBeGreaterThan(0)
    expect(refreshes()).toBe(1)
  })
})

function clientChallenge(): ReturnType<typeof json> {
  const headers = { 'www-authenticate': 'Basic realm="x"', 'content-type': 'application/json' }
  return { status: 401, headers, body: '{"error":"invalid_client"}' }
}
