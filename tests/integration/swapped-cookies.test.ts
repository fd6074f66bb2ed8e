import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { callWith } from './call.ts'

/** Our cookies, by what they are for. */
const kinds = ['sid', 'at', 'rt', 'id', 'login'] as const
type Kind = (typeof kinds)[number]
type Cookies = Readonly<Record<Kind, { readonly name: string; readonly value: string }>>

let demo: TestDemo
let own: Cookies
let other: Cookies
let callback: URL

beforeAll(async () => {
  demo = await startTestDemo()
  ;({ cookies: own, callback } = await session())
  ;({ cookies: other } = await session())
})

afterAll(async () => {
  await demo.close()
})

/** A session with a second login that waits for its end: every kind of cookie that there is. */
async function session(): Promise<{ cookies: Cookies; callback: URL }> {
  const browser = new SessionBrowser(demo.url)
  await browser.logIn()
  const redirect = new URL(await browser.authorize())
  const found = kinds.map((kind) => {
    const cookie = browser.jar.snapshot().find(({ name }) => new RegExp(`-${kind}(?:-|$)`).test(name))
    return [kind, { name: cookie?.name ?? '', value: cookie?.value ?? '' }]
  })
  return { cookies: Object.fromEntries(found) as Cookies, callback: redirect }
}

/** The Cookie header of a session, with other values in some slots, or without some cookies. */
function header(values: Partial<Record<Kind, string | null>>): string {
  return kinds
    .filter((kind) => values[kind] !== null)
    .map((kind) => `${own[kind].name}=${values[kind] ?? own[kind].value}`)
    .join('; ')
}

/** What each part makes of a Cookie header. */
async function judge(cookie: string): Promise<Record<'api' | 'session' | 'refresh', unknown>> {
  const api = await callWith(cookie, `${demo.url}/api/me`)
  const current = await callWith(cookie, `${demo.url}/oauth-agent/session`)
  const refresh = await callWith(cookie, `${demo.url}/oauth-agent/refresh`, { method: 'POST' })
  return {
    api: api.code ?? api.status,
    session: current.json['is_logged_in'],
    refresh: refresh.code ?? refresh.status,
  }
}

/** Calls to API and token endpoint so far. */
function reached(): number[] {
  return [demo.api.received.length, demo.authorizationServer.issued.length, demo.tokenRequests('refresh_token').length]
}

const foreign = kinds.flatMap((slot) => kinds.filter((kind) => kind !== slot).map((kind) => [slot, kind] as const))

it('control: the cookies of the session are good as they are', async () => {
  expect(own.login.value).not.toBe('')
  const browser = await session()
  const cookie = kinds.map((kind) => `${browser.cookies[kind].name}=${browser.cookies[kind].value}`).join('; ')
  expect(await judge(cookie)).toEqual({ api: 200, session: true, refresh: 200 })
})

describe('[E-DS-01] a cookie’s value in the slot of another', () => {
  it.each(foreign.filter(([slot]) => slot === 'at'))('is no access token: %s ← %s', async (_slot, kind) => {
    const before = reached()
    expect((await judge(header({ at: own[kind].value, rt: null, id: null }))).api).toBe('session_missing')
    expect(reached()).toEqual(before)
  })

  it.each(foreign.filter(([slot]) => slot === 'rt'))('is no session: %s ← %s', async (_slot, kind) => {
    const before = reached()
    const { session: isLoggedIn, refresh } = await judge(header({ at: null, rt: own[kind].value }))
    expect({ isLoggedIn, refresh }).toEqual({ isLoggedIn: false, refresh: 'session_expired' })
    expect(reached()).toEqual(before)
  })

  it.each(foreign.filter(([slot]) => slot === 'sid'))('binds nothing: %s ← %s', async (_slot, kind) => {
    const before = reached()
    expect(await judge(header({ sid: own[kind].value }))).toEqual({
      api: 'session_missing',
      session: false,
      refresh: 'session_expired',
    })
    expect(reached()).toEqual(before)
  })

  it.each(foreign.filter(([slot]) => slot === 'id'))('tells nothing about anybody: %s ← %s', async (_slot, kind) => {
    const answer = await callWith(header({ id: own[kind].value }), `${demo.url}/oauth-agent/session`)
    expect(answer.json).toMatchObject({ is_logged_in: true })
    expect(answer.json).not.toHaveProperty('id_token_claims')
    expect(JSON.stringify(answer.json)).not.toContain('demo')
  })

  it.each(foreign.filter(([slot]) => slot === 'login'))('finishes no login: %s ← %s', async (_slot, kind) => {
    const before = reached()
    const cookie = header({ login: own[kind].value, sid: null, at: null, rt: null, id: null })
    const answer = await callWith(cookie, `${demo.url}/oauth-agent/login/end`, {
      method: 'POST',
      body: callback.searchParams,
    })
    expect(answer).toMatchObject({ status: 400, code: 'unknown_state' })
    expect(answer.setCookies).toEqual([])
    expect(reached()).toEqual(before)
  })
})

describe('[E-DS-03] cookies of two sessions', () => {
  it.each<[string, Partial<Record<Kind, string>>, Partial<Record<'api' | 'session' | 'refresh', unknown>>]>([
    ['another access token', { at: 'other' }, { api: 'session_missing' }],
    ['another refresh token', { rt: 'other' }, { session: false, refresh: 'session_expired' }],
    // The proxy looks under the tag of that session, where nothing is: a refresh would tell.
    [
      'another session id',
      { sid: 'other' },
      { api: 'access_token_expired', session: false, refresh: 'session_expired' },
    ],
    [
      'another session id and refresh token under the tag of the first',
      { sid: 'other', rt: 'other' },
      { api: 'access_token_expired', session: false, refresh: 'session_expired' },
    ],
  ])('do not mix: %s', async (_name, swapped, expected) => {
    const before = reached()
    const values = Object.fromEntries(Object.keys(swapped).map((kind) => [kind, other[kind as Kind].value]))
    // Without the rest that would be good by itself.
    const without = 'at' in swapped ? { rt: null, id: null } : 'rt' in swapped ? { at: null } : {}
    expect(await judge(header({ ...without, ...values }))).toMatchObject(expected)
    expect(reached()).toEqual(before)
  })

  it('side by side under their own names: the session id decides, and the other session is left alone', async () => {
    const two = [
      `${own.sid.name}=${own.sid.value}`,
      ...(['at', 'rt', 'id'] as const).flatMap((kind) => [
        `${other[kind].name}=${other[kind].value}`,
        `${own[kind].name}=${own[kind].value}`,
      ]),
    ].join('; ')
    expect((await callWith(two, `${demo.url}/api/me`)).status).toBe(200)
    const answer = await callWith(two, `${demo.url}/oauth-agent/session`)
    expect(answer.json).toMatchObject({ is_logged_in: true })
    // Leftovers of another session are cleared, by their own names only.
    const cleared = answer.setCookies.map((line) => line.slice(0, line.indexOf('=')))
    expect(cleared.toSorted()).toEqual([other.at.name, other.id.name, other.rt.name].toSorted())
    const intact = (['sid', 'at', 'rt', 'id'] as const)
      .map((kind) => `${other[kind].name}=${other[kind].value}`)
      .join('; ')
    expect((await callWith(intact, `${demo.url}/api/me`)).status).toBe(200)
  })
})
