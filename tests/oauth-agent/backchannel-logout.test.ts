import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, identityHash } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import {
  json,
  type IdTokenChanges,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { faultyLedger, type FaultyLedger } from './faulty-ledger.ts'
import { startAgent, type Browser, type RunningAgent } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let clock: FakeClock
let ledger: FaultyLedger
let audit: KeptAudit
let scripted: Scripted
let server: ScriptedAuthorizationServer

async function start(setup: Parameters<typeof startScripted>[0] = {}): Promise<void> {
  clock = fakeClock()
  ledger = faultyLedger(createMemoryLedger(clock))
  audit = keptAudit()
  scripted = await startScripted({ clock, ledger: ledger.ledger, audit, ...setup })
  server = scripted.server
}

beforeEach(() => start())
afterEach(() => scripted.close())

interface Posted {
  readonly status: number
  readonly headers: Headers
  readonly json: Readonly<Record<string, unknown>>
}

/** As an authorization server posts it: no cookie, no header of ours. */
async function post(
  body: string | URLSearchParams,
  headers: Record<string, string> = {},
  to = scripted.agent,
): Promise<Posted> {
  const answer = await fetch(new URL('backchannel-logout', to.url), {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: String(body),
  })
  return { status: answer.status, headers: answer.headers, json: (await answer.json()) as Record<string, unknown> }
}

const send = (token: string, to?: RunningAgent): Promise<Posted> =>
  post(new URLSearchParams({ logout_token: token }), {}, to)
const logOut = async (changes: IdTokenChanges = {}): Promise<Posted> => {
  clock.advanceSeconds(1)
  return send(await server.makeLogoutToken(changes))
}

/** A browser that is logged in, with an ID token that says so. */
async function loggedIn(subject = 'subject-1', sid: string | null = 'as-session-1'): Promise<Browser> {
  server.subject = subject
  server.idToken = { claims: { sid: sid ?? undefined } }
  clock.advanceSeconds(1)
  return scripted.loggedIn()
}

const isLoggedIn = async (browser: Browser): Promise<unknown> => (await browser.get('session')).json['is_logged_in']

describe('a logout token', () => {
  it('[C-63] [B-BC-01] [B-BC-04] ends the session, and the answer is 200 and not to be stored', async () => {
    const browser = await loggedIn()
    const answer = await logOut({ claims: { ignored_claim: 'ignored' } })
    expect([answer.status, answer.json]).toEqual([200, {}])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.getSetCookie()).toEqual([])
    expect((await browser.post('refresh')).json['error_code']).toBe('session_expired')
    expect(await isLoggedIn(browser)).toBe(false)
    expect(audit.events).toContainEqual(
      expect.objectContaining({ event: 'backchannel_logout', outcome: 'success', subject: 'subject-1' }),
    )
  })

  it('[B-BC-08] makes a rule that every proxied request meets', async () => {
    await loggedIn()
    const asSessionHash = identityHash(server.issuer, 'as-session-1')
    const identity = { sid: 'any', startedAt: clock.now(), subjectHash: 'any', asSessionHash }
    await logOut()
    expect(scripted.agent.ledger.rules.endOf(identity)).toBe('backchannel_logout')
    expect(scripted.agent.ledger.rules.endOf({ ...identity, startedAt: clock.now() + 1 })).toBeUndefined()
  })

  it('leads to the revocation of the refresh token by the first agent that sees its cookie', async () => {
    const browser = await loggedIn()
    await logOut()
    expect(server.hasLiveGrant).toBe(true)
    await browser.get('session')
    await until('the refresh token is revoked', () => !server.hasLiveGrant)
  })

  it('[B-BC-02] may call itself a JWT, or nothing, as servers do that are older than the name', async () => {
    for (const typ of ['logout+jwt', 'application/logout+jwt', 'JWT', undefined]) {
      expect([typ, (await logOut({ header: { typ } })).status]).toEqual([typ, 200])
    }
  })

  it('[C-69] may be meant for others besides: the authorization server signed that it is meant for us', async () => {
    expect((await logOut({ claims: { aud: [server.clientId, 'another'] } })).status).toBe(200)
  })

  it('[B-BC-05] may be about a session that nobody knows', async () => {
    const browser = await loggedIn()
    expect((await logOut({ claims: { sid: 'unheard of', sub: undefined } })).status).toBe(200)
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('takes charset and further fields in the form', async () => {
    const form = new URLSearchParams({ logout_token: await server.makeLogoutToken(), more: 'x' })
    expect((await post(form, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' })).status).toBe(200)
  })

  describe('says whose sessions are over', () => {
    it('[B-BC-06] [F-MO-14] by sid: that one, and not the older or newer ones of the same user', async () => {
      const browsers = [await loggedIn('u', 's1'), await loggedIn('u', 's2'), await loggedIn('u', 's3')]
      await logOut({ claims: { sub: undefined, sid: 's2' } })
      expect(await Promise.all(browsers.map(isLoggedIn))).toEqual([true, false, true])
      await logOut({ claims: { sub: undefined, sid: 's1' } })
      expect(await Promise.all(browsers.map(isLoggedIn))).toEqual([false, false, true])
    })

    it('[B-BC-06] by sub: all of that user, and nobody else', async () => {
      const browsers = [await loggedIn('u', 's1'), await loggedIn('u', null), await loggedIn('v', 's3')]
      await logOut({ claims: { sub: 'u', sid: undefined } })
      expect(await Promise.all(browsers.map(isLoggedIn))).toEqual([false, false, true])
    })

    it('[B-BC-06] by both: that session, and those of the user whose ID token named none', async () => {
      const browsers = [await loggedIn('u', 's1'), await loggedIn('u', 's2'), await loggedIn('u', null)]
      await logOut({ claims: { sub: 'u', sid: 's1' } })
      expect(await Promise.all(browsers.map(isLoggedIn))).toEqual([false, true, false])
    })

    it('and leaves alone who logs in again after it', async () => {
      await loggedIn('u', 's1')
      await logOut({ claims: { sub: 'u', sid: 's1' } })
      expect(await isLoggedIn(await loggedIn('u', 's1'))).toBe(true)
    })
  })

  it('ends a login that is under way when it comes', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    server.script = {
      token: async ({ standard }) => {
        expect((await logOut()).status).toBe(200)
        return standard()
      },
    }
    const answer = await browser.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_ended'])
    await until('its tokens are revoked', () => !server.hasLiveGrant)
  })

  it('ends a session whose refresh is under way, and what that brings is revoked (row 13)', async () => {
    const browser = await loggedIn()
    server.script = {
      token: async ({ standard }) => {
        server.script = {}
        expect((await logOut()).status).toBe(200)
        return standard()
      },
    }
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
    await until('the new refresh token is revoked', () => !server.hasLiveGrant)
    expect(scripted.leaks(answer)).toEqual([])
  })
})

describe('no logout token', () => {
  const event = 'http://schemas.openid.net/event/backchannel-logout'
  const now = (): number => Math.floor(clock.now() / 1000)
  const refusals: [id: string, what: string, changes: () => IdTokenChanges][] = [
    ['C-65', 'without events', () => ({ claims: { events: undefined } })],
    ['C-65', 'with an array of events', () => ({ claims: { events: [event] } })],
    ['C-65', 'with a text for events', () => ({ claims: { events: event } })],
    ['C-65', 'with events that hold nothing', () => ({ claims: { events: {} } })],
    ['C-66', 'about another event', () => ({ claims: { events: { [`${event}/foobar`]: {} } } })],
    ['C-66', 'about an event that is no object', () => ({ claims: { events: { [event]: 'logout' } } })],
    ['C-66', 'about an event that is an array', () => ({ claims: { events: { [event]: [] } } })],
    ['C-67', 'with a nonce', () => ({ claims: { nonce: 'nonce' } })],
    ['C-67', 'with a nonce that is null', () => ({ claims: { nonce: null } })],
    ['C-69', 'for another client', () => ({ claims: { aud: `${server.clientId}INVALID` } })],
    ['C-69', 'for other clients', () => ({ claims: { aud: ['a', 'b'] } })],
    ['C-69', 'for nobody', () => ({ claims: { aud: undefined } })],
    ['C-70', 'of another issuer', () => ({ claims: { iss: `${server.issuer}INVALID` } })],
    ['C-70', 'of nobody', () => ({ claims: { iss: undefined } })],
    ['B-BC-01', 'without iat', () => ({ claims: { iat: undefined } })],
    ['B-BC-01', 'without exp', () => ({ claims: { exp: undefined } })],
    ['B-BC-01', 'without jti', () => ({ claims: { jti: undefined } })],
    ['B-BC-01', 'with an empty jti', () => ({ claims: { jti: '' } })],
    ['B-BC-01', 'that is expired', () => ({ claims: { exp: now() - 31 } })],
    ['B-BC-01', 'that was issued long ago', () => ({ claims: { iat: now() - 331, exp: now() + 1e6 } })],
    ['B-BC-01', 'that is issued in the future', () => ({ claims: { iat: now() + 40 } })],
    ['B-BC-01', 'that is not valid yet', () => ({ claims: { nbf: now() + 60 } })],
    ['B-BC-01', 'with times beyond all reason', () => ({ claims: { exp: 1e300 } })],
    ['B-BC-01', 'with times that are text', () => ({ claims: { iat: 'now' } })],
    ['B-BC-01', 'about nobody', () => ({ claims: { sid: undefined, sub: undefined } })],
    ['B-BC-01', 'with a sid that is no text', () => ({ claims: { sid: 7 } })],
    ['B-BC-01', 'with an empty sub', () => ({ claims: { sub: '' } })],
    ['B-BC-02', 'that is an access token', () => ({ header: { typ: 'at+jwt' } })],
    ['B-BC-02', 'of an unknown kind', () => ({ header: { typ: 'secevent+jwt' } })],
    ['B-BC-02', 'whose kind is no text', () => ({ header: { typ: 1 } })],
  ]

  it.each(refusals)('[%s] %s is taken', async (_id, _what, changes) => {
    const browser = await loggedIn()
    const answer = await logOut(changes())
    expect([answer.status, answer.json, answer.headers.get('cache-control')]).toEqual([
      400,
      {
        error_code: 'invalid_logout_token',
        error: 'invalid_request',
        error_description: 'The logout token is not valid, or was used before.',
      },
      'no-store',
    ])
    expect(await isLoggedIn(browser)).toBe(true)
    expect((await logOut()).status).toBe(200)
    expect(await isLoggedIn(browser)).toBe(false)
  })

  it('[C-64] is taken unsigned', async () => {
    const browser = await loggedIn()
    const [, payload = ''] = (await server.makeLogoutToken()).split('.')
    for (const alg of ['none', 'None', 'NONE']) {
      const header = Buffer.from(JSON.stringify({ alg, typ: 'logout+jwt' })).toString('base64url')
      for (const signature of ['', '.', '.AAAA']) {
        expect((await send(`${header}.${payload}${signature}`)).status).toBe(400)
      }
    }
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('[C-68] is taken with an algorithm that is not configured, or with the client secret for a key', async () => {
    const ps = await server.addKey('PS256')
    const browser = await loggedIn()
    expect((await logOut({ header: { alg: 'PS256', kid: ps.kid }, key: ps.privateKey })).status).toBe(400)
    const key = Buffer.from(server.clientSecret)
    expect((await logOut({ header: { alg: 'HS256' }, key })).status).toBe(400)
    const rs = await server.addKey('RS256')
    expect((await logOut({ header: { alg: 'RS256', kid: rs.kid }, key: rs.privateKey })).status).toBe(200)
    expect(await isLoggedIn(browser)).toBe(false)
  })

  it('[C-68] is taken where only another algorithm is registered', async () => {
    await scripted.close()
    await start({ authorizationServer: { idTokenAlgorithms: ['RS256'] } })
    expect((await logOut()).status).toBe(400)
  })

  it('[B-BC-02] is taken for one where it is an ID token or a JARM response', async () => {
    const browser = await loggedIn()
    const idToken = await server.makeIdToken('nonce', 'access')
    expect((await send(idToken)).status).toBe(400)
    expect((await send(await server.makeIdToken(undefined, 'access'))).status).toBe(400)
    const jarm = await server.makeLogoutToken({
      claims: { events: undefined, code: 'c', state: 's' },
      header: { typ: 'JWT' },
    })
    expect((await send(jarm)).status).toBe(400)
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('is taken with a damaged signature, payload or form', async () => {
    const browser = await loggedIn()
    const token = await server.makeLogoutToken()
    const [header = '', payload = '', signature = ''] = token.split('.')
    const other = (await server.makeLogoutToken({ claims: { sid: 'x' } })).split('.')[1] ?? ''
    const broken = [
      `${header}.${other}.${signature}`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.x`,
      `${header}.${payload}.${signature.slice(0, -4)}`,
      `${header}.W10.${signature}`,
      `.${payload}.${signature}`,
      'token',
      '',
      'é.é.é',
    ]
    for (const each of broken) expect([each, (await send(each)).status]).toEqual([each, 400])
    expect((await post(`logout_token=${token}&logout_token=${token}`)).status).toBe(400)
    expect((await post('logout_token=%E0%A4%A')).status).toBe(400)
    expect((await post('')).status).toBe(400)
    expect((await post(JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' })).status).toBe(
      400,
    )
    expect((await post(new URLSearchParams({ logout_token: token }), { 'content-type': 'text/plain' })).status).toBe(
      400,
    )
    expect((await post(new URLSearchParams({ logout_token: 'x'.repeat(20_000) }))).status).toBe(413)
    expect(await isLoggedIn(browser)).toBe(true)
    expect((await send(token)).status).toBe(200)
  })

  it('is looked for in a query, or under another method', async () => {
    const url = new URL('backchannel-logout', scripted.agent.url)
    url.searchParams.set('logout_token', await server.makeLogoutToken())
    expect((await fetch(url, { method: 'POST' })).status).toBe(400)
    const got = await fetch(url)
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
  })
})

describe('a logout token that comes again', () => {
  it('[B-BC-03] [F-MO-7] is refused, on every replica', async () => {
    const replica = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock,
      ledger: ledger.ledger,
      keys: scripted.keys,
    })
    try {
      const token = await server.makeLogoutToken()
      expect((await send(token)).status).toBe(200)
      const browser = await loggedIn()
      expect((await send(token)).status).toBe(400)
      expect((await send(token, replica)).status).toBe(400)
      clock.advanceSeconds(119)
      expect((await send(token, replica)).status).toBe(400)
      expect(await isLoggedIn(browser)).toBe(true)
      expect(audit.events).toContainEqual(expect.objectContaining({ event: 'backchannel_logout', reason: 'replayed' }))
    } finally {
      await replica.close()
    }
  })

  it('[B-BC-03] cannot be replayed for as long as it would be valid, whatever its exp', async () => {
    const token = await server.makeLogoutToken({ claims: { exp: Math.floor(clock.now() / 1000) + 1e6 } })
    expect((await send(token)).status).toBe(200)
    for (let seconds = 0; seconds < 700; seconds += 50) {
      expect((await send(token)).status).toBe(400)
      clock.advanceSeconds(50)
    }
  })
})

describe('while the store is away', () => {
  it('a logout token is answered 503 and written as soon as it can be; the same token is welcome then', async () => {
    const browser = await loggedIn()
    ledger.cut = new Set(['claimLogoutToken', 'addRule'])
    const token = await server.makeLogoutToken()
    clock.advanceSeconds(1)
    const answer = await send(token)
    expect([answer.status, answer.json['error_code'], answer.headers.get('retry-after')]).toEqual([
      503,
      'store_unavailable',
      '2',
    ])
    ledger.cut = false
    await until('the end is written', async () => (await isLoggedIn(browser)) === false)
    expect(audit.events).toContainEqual(expect.objectContaining({ event: 'backchannel_logout', outcome: 'pending' }))
  })

  it('a logout token that nobody could claim ends what began before it came, however late it is written', async () => {
    const before = await loggedIn('u', 's1')
    clock.advanceSeconds(1)
    ledger.cut = new Set(['claimLogoutToken'])
    // As a store does that is away: the rule holds in this process.
    ledger.replaced.addRule = async (build) => {
      build(clock.now())
      return { state: 'unknown' }
    }
    expect((await send(await server.makeLogoutToken({ claims: { sub: 'u', sid: 's1' } }))).status).toBe(503)
    clock.advanceSeconds(1)
    const after = await loggedIn('u', 's1')
    ledger.replaced = {}
    ledger.cut = false
    await until('the first one is over', async () => (await isLoggedIn(before)) === false)
    expect(await isLoggedIn(after)).toBe(true)
  })

  it('a logout token that was claimed and not written ends, when it comes again, what began before it came first', async () => {
    const before = await loggedIn('u', 's1')
    clock.advanceSeconds(1)
    ledger.cut = new Set(['addRule'])
    const token = await server.makeLogoutToken({ claims: { sub: 'u', sid: 's1' } })
    expect((await send(token)).status).toBe(503)
    const after = await loggedIn('u', 's1')
    ledger.cut = false
    expect([200, 400]).toContain((await send(token)).status)
    await until('the first one is over', async () => (await isLoggedIn(before)) === false)
    expect(await isLoggedIn(after)).toBe(true)
  })
})

describe('the keys of the authorization server', () => {
  it('may be changed at any moment', async () => {
    expect((await logOut()).status).toBe(200)
    await server.rotateKeys()
    expect((await logOut()).status).toBe(200)
  })

  it('are found without a kid, among several', async () => {
    const second = await server.addKey('ES256')
    expect((await logOut({ header: { kid: undefined }, key: second.privateKey })).status).toBe(200)
  })

  it('[B-BC-07] are not asked for by who sends what is no logout token, nor again and again by who makes up kids', async () => {
    await loggedIn()
    const before = server.count('jwks')
    for (let round = 0; round < 20; round++) await logOut({ header: { kid: `k${round}` }, claims: { nonce: 'x' } })
    expect(server.count('jwks')).toBe(before)
    for (let round = 0; round < 20; round++) {
      expect((await logOut({ header: { kid: `k${round}` } })).status).toBe(400)
    }
    expect(server.count('jwks') - before).toBeLessThanOrEqual(5)
    // And logins are not kept from following a change of keys by it.
    await server.rotateKeys()
    await loggedIn()
  })

  it('that cannot be had are no reason to refuse a logout token for good', async () => {
    server.script = { jwks: () => json(500, {}) }
    const answer = await logOut()
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'authorization_server_error'])
    server.script = {}
    expect((await logOut()).status).toBe(200)
  })
})

describe('the endpoint', () => {
  it('[B-BC-07] asks for no cookie, header or origin of ours, and sets no cookie', async () => {
    const answer = await post(new URLSearchParams({ logout_token: await server.makeLogoutToken() }), {
      origin: 'https://elsewhere.test',
      'sec-fetch-site': 'cross-site',
    })
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([200, []])
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })

  it('[B-BC-07] is limited by address, apart from what browsers do', async () => {
    await scripted.close()
    await start({ options: { rateLimit: { requests: 3, windowSeconds: 60 } } })
    const statuses = []
    for (let round = 0; round < 5; round++) statuses.push((await send('token')).status)
    expect(statuses).toEqual([400, 400, 400, 429, 429])
    await scripted.loggedIn()
  })

  it('says in the log what was wrong with a token, and nothing of the token', async () => {
    const token = await server.makeLogoutToken({ claims: { nonce: 'canary-nonce' } })
    await send(token)
    expect(scripted.agent.events()).toContain('logout_token_refused')
    expect(scripted.agent.log()).toContain('nonce is there')
    expect(scripted.agent.log()).not.toContain('canary-nonce')
    expect(scripted.agent.log()).not.toContain(token.slice(-20))
  })
})
