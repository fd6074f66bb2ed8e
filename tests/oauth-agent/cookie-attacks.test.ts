import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { generateKeyFile, type KeyFile } from '@token-handler/shared'
import { CookieJar } from '../support/cookie-jar.ts'
import { startAgent, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
let keys: KeyFile
beforeAll(async () => {
  keys = generateKeyFile(new Date())
  scripted = await startScripted({ keys, cookies: { responseBudgetBytes: 16_000, headerBudgetBytes: 16_000 } })
})
afterAll(() => scripted.close())

let browser: Browser
let cookies: Map<string, string>
beforeEach(async () => {
  scripted.server.tokenAnswer = {}
  browser = await scripted.loggedIn()
  cookies = cookiesOf(browser)
})

const cookiesOf = ({ jar }: Browser): Map<string, string> =>
  new Map(jar.names().map((name) => [name, jar.get(name)[0]?.value ?? '']))
const headerOf = (pairs: Iterable<readonly [string, string]>): string =>
  [...pairs].map(([name, value]) => `${name}=${value}`).join('; ')
const nameOf = (kind: string, from = cookies): string =>
  [...from.keys()].find((name) => name.includes(`-${kind}`)) ?? ''

/** Nobody is logged in with these cookies, nothing is asked of the authorization server, and nothing is set. */
async function expectNobody(cookie: string): Promise<void> {
  const before = scripted.server.calls.length
  const seen = await scripted.agent.browser().get('session', { cookie })
  expect([seen.status, seen.text]).toEqual([200, '{"is_logged_in":false}'])
  const refreshed = await scripted.agent.browser().post('refresh', undefined, { cookie })
  expect([refreshed.status, refreshed.text]).toEqual([401, '{"error_code":"session_expired"}'])
  expect(refreshed.setCookies).toEqual([])
  expect(scripted.server.calls).toHaveLength(before)
}

describe('a session is not opened by', () => {
  it('[E-GC-04][E-GC-05][E-GC-06][F-EN-5] a refresh cookie with any one character changed', async () => {
    const name = nameOf('rt')
    const value = cookies.get(name) ?? ''
    for (let at = 0; at < value.length; at += 7) {
      const other = value[at] === 'A' ? 'B' : 'A'
      const changed = new Map(cookies).set(name, value.slice(0, at) + other + value.slice(at + 1))
      await expectNobody(headerOf(changed))
    }
  })

  it.each(['=', '.', 'A', ' x', '+', '!', '%41', '\u00e9'])(
    '[E-GC-06] a refresh cookie with %j at its end',
    async (end) => {
      const name = nameOf('rt')
      await expectNobody(headerOf(new Map(cookies).set(name, `${cookies.get(name)}${end}`)))
    },
  )

  it('[E-GC-03] a truncated or a longer tag', async () => {
    const name = nameOf('rt')
    const parts = (cookies.get(name) ?? '').split('.')
    const tag = Buffer.from(parts[4] ?? '', 'base64url')
    for (const other of [tag.subarray(0, 4), tag.subarray(0, 12), tag.subarray(0, 15), Buffer.concat([tag, tag])]) {
      const value = [...parts.slice(0, 4), other.toString('base64url')].join('.')
      await expectNobody(headerOf(new Map(cookies).set(name, value)))
    }
  })

  it('[E-DS-01] a cookie of another purpose in its place', async () => {
    for (const kind of ['at', 'id']) {
      const swapped = new Map(cookies).set(nameOf('rt'), cookies.get(nameOf(kind)) ?? '')
      await expectNobody(headerOf(swapped))
    }
  })

  it('[E-DS-03][D-CK-08] cookies of two sessions mixed, whatever they are called', async () => {
    const other = cookiesOf(await scripted.loggedIn())
    const sid = nameOf('sid')
    await expectNobody(headerOf(new Map(cookies).set(sid, other.get(sid) ?? '')))
    await expectNobody(headerOf(new Map(cookies).set(nameOf('rt'), other.get(nameOf('rt', other)) ?? '')))
    const forged = (cookies.get(sid) ?? '').slice(0, 8) + (other.get(sid) ?? '').slice(8)
    await expectNobody(headerOf(new Map(cookies).set(sid, forged)))
  })

  it('[E-DS-02] the same keys working for another client', async () => {
    const { server, clock } = scripted
    const other = await startAgent({
      issuer: server.issuer,
      clientId: 'another-client',
      clientAuthentication: { method: 'client_secret_basic', clientSecret: 'x' },
      clock,
      keys,
      ledger: scripted.agent.ledger,
    })
    const answer = await other.browser().get('session', { cookie: headerOf(cookies) })
    expect(answer.text).toBe('{"is_logged_in":false}')
    await other.close()
  })

  it('[E-KM-01][E-KM-03] foreign, retired and unknown keys; but by open-only ones, which are then replaced', async () => {
    const { server, clock } = scripted
    const [old] = keys.keys
    const [fresh] = generateKeyFile(new Date()).keys
    if (old === undefined || fresh === undefined) throw new Error('no key')
    const rings: [KeyFile, boolean][] = [
      [{ keys: [fresh] }, false],
      [{ keys: [fresh, { ...old, state: 'retired' }] }, false],
      [{ keys: [{ ...fresh, kid: old.kid }] }, false],
      [{ keys: [fresh, { ...old, state: 'open-only' }] }, true],
    ]
    for (const [ring, isOpened] of rings) {
      const agent = await startAgent({
        issuer: server.issuer,
        clientId: server.clientId,
        clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
        clock,
        keys: ring,
        ledger: scripted.agent.ledger,
      })
      const other = agent.browser(browser.jar)
      expect((await other.get('session')).json['is_logged_in']).toBe(isOpened)
      await other.post('refresh')
      const [header = ''] = (cookiesOf(browser).get(nameOf('rt')) ?? '').split('.')
      const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }
      expect(kid).toBe(isOpened ? fresh.kid : old.kid)
      await agent.close()
    }
  })

  it('[E-JW-01] a value that says it is of another release', async () => {
    const name = nameOf('rt')
    const [header = '', ...rest] = (cookies.get(name) ?? '').split('.')
    const changed = Buffer.from(header, 'base64url').toString().replace('th1-', 'th2-')
    await expectNobody(
      headerOf(new Map(cookies).set(name, [Buffer.from(changed).toString('base64url'), ...rest].join('.'))),
    )
  })

  it.each(['j:{"a":1}', 's:x.y', '%zz', '', 'x'.repeat(8000), '2.', '9.x', '-1.x', '....'])(
    '[D-TO-06] %.20j as refresh cookie or session id',
    async (value) => {
      await expectNobody(headerOf(new Map(cookies).set(nameOf('rt'), value)))
      await expectNobody(headerOf(new Map(cookies).set(nameOf('sid'), value)))
    },
  )

  it('[D-TO-03][D-TO-04][D-TO-05] cookies with nearly the right names', async () => {
    const renamings: ((name: string) => string)[] = [
      (name) => name.toLowerCase(),
      (name) => name.replace('__Host-Http-', '').replace('__Secure-', ''),
      (name) => `=${name}`,
      (name) => `\u00a0${name}`,
      (name) => `$Version=1; x${name}`,
      (name) => name.replace('-', '%2D'),
      (name) => `"${name}"`,
    ]
    for (const rename of renamings) {
      const renamed = [...cookies].map(([name, value]) => [rename(name), value] as const)
      await expectNobody(Buffer.from(headerOf(renamed)).toString('latin1'))
    }
  })

  it('[D-TO-07] names from the prototype; and they do no harm', async () => {
    const harmless = '__proto__=x; constructor=y; hasOwnProperty=z; toString=1'
    await expectNobody(harmless)
    const answer = await scripted.agent.browser().get('session', { cookie: `${harmless}; ${headerOf(cookies)}` })
    expect(answer.json['is_logged_in']).toBe(true)
  })

  it('[E-CK-01] an expired value, whatever the browser thinks', async () => {
    const forever = scripted.agent.browser(new CookieJar({ now: () => 0 }))
    await scripted.logIn(forever)
    scripted.clock.advanceSeconds(43_201)
    const answer = await forever.get('session')
    expect(answer.text).toBe('{"is_logged_in":false}')
    expect(forever.jar.names().map((name) => name.slice(0, 18))).toEqual(['__Host-Http-th-sid'])
  })
})

it('[A-22] the session answer is 200 in one of two shapes, never stored and without tokens, whatever the cookies are', async () => {
  const garbled = headerOf([...cookies].map(([name]) => [name, 'x']))
  const ofOtherKeys = await startScripted()
  const foreign = headerOf(cookiesOf(await ofOtherKeys.loggedIn()))
  const valid = headerOf(cookies)
  for (const [cookie, advance, isLoggedIn] of [
    ['', 0, false],
    [garbled, 0, false],
    [foreign, 0, false],
    [valid, 0, true],
    [valid, 301, true],
    [valid, 43_200, false],
  ] as const) {
    scripted.clock.advanceSeconds(advance)
    const answer = await scripted.agent.browser().get('session', { cookie })
    expect([answer.status, answer.headers.get('location'), answer.headers.get('cache-control')]).toEqual([
      200,
      null,
      'no-store',
    ])
    expect(Object.keys(answer.json)).toEqual(
      isLoggedIn
        ? [
            'is_logged_in',
            'id_token_claims',
            'access_token_expires_in',
            'access_token_lifetime',
            'session_expires_in',
            'idle_expires_in',
          ]
        : ['is_logged_in'],
    )
    expect(answer.json['is_logged_in']).toBe(isLoggedIn)
    expect(scripted.leaks(answer)).toEqual([])
  }
  await ofOtherKeys.close()
})

describe('planted cookies', () => {
  it('[G-9] beside the right ones lock nobody out: the one that opens and belongs counts', async () => {
    const name = nameOf('rt')
    const other = cookiesOf(await scripted.loggedIn())
    for (const planted of ['x', 'a.b.c.d.e', other.get(nameOf('rt', other)) ?? '']) {
      for (const cookie of [`${name}=${planted}; ${headerOf(cookies)}`, `${headerOf(cookies)}; ${name}=${planted}`]) {
        const answer = await scripted.agent.browser().get('session', { cookie })
        expect(answer.json['is_logged_in']).toBe(true)
      }
    }
  })

  it('of two different values that both open, none counts', async () => {
    const before = headerOf(cookies)
    await browser.post('refresh')
    const both = `${before}; ${nameOf('rt')}=${cookiesOf(browser).get(nameOf('rt'))}`
    expect((await scripted.agent.browser().get('session', { cookie: both })).json).toEqual({ is_logged_in: false })
  })

  it('of other sessions are cleared by the next answer, at most eight of them', async () => {
    const foreign = Array.from({ length: 12 }, (_, index) => `__Secure-th-rt-foreign${index % 10}${index}=x`)
    const cookie = [headerOf(cookies), ...foreign].join('; ')
    const answer = await scripted.agent.browser().get('session', { cookie })
    expect(answer.json['is_logged_in']).toBe(true)
    expect(answer.setCookies).toHaveLength(8)
    expect(answer.setCookies.every((line) => line.startsWith('__Secure-th-rt-foreign'))).toBe(true)
  })

  it.each([
    '__Secure-th-rt-a b',
    '__Secure-th-rt-\u00c3\u00a9xxxxxx',
    '__Secure-th-id-a"b',
    '__Host-Http-th-login-a b',
  ])('[D-TO-04] %j, which no Set-Cookie line can clear, stops no call', async (name) => {
    browser.jar.store(scripted.agent.url, [`${name}=1; Path=/; Secure; HttpOnly; SameSite=Strict`])
    expect(browser.jar.header(new URL('session', scripted.agent.url))).toContain(`${name}=1`)
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    expect((await browser.post('refresh')).status).toBe(200)
    // Once more, now in place of the session.
    expect((await scripted.logIn(browser)).answer.status).toBe(200)
    expect((await browser.post('logout')).status).toBe(200)
    expect(browser.jar.names()).toEqual([name])
    expect((await scripted.logIn(browser)).answer.status).toBe(200)
  })

  it('[D-TO-08] in their hundreds cost next to nothing', async () => {
    const junk = Array.from({ length: 150 }, (_, index) => `${nameOf('rt')}.${index}=2.${'x'.repeat(60)}`)
    const startedAt = performance.now()
    for (let round = 0; round < 20; round++) {
      await scripted.agent
        .browser()
        .get('session', { cookie: [nameOf('sid') + '=' + cookies.get(nameOf('sid')), ...junk].join('; ') })
    }
    expect(performance.now() - startedAt).toBeLessThan(3000)
  })
})

describe('chunks', () => {
  /** A session whose refresh cookie needs several chunks. */
  async function chunked(): Promise<Map<string, string>> {
    scripted.server.tokenAnswer = { refresh_token: 'r'.repeat(5000) }
    return cookiesOf(await scripted.loggedIn())
  }

  it('[D-CK-08] missing, foreign or beyond the count open nothing', async () => {
    const whole = await chunked()
    const base = nameOf('rt', whole).replace(/\.\d$/, '')
    const [zero, one] = [`${base}.0`, `${base}.1`]
    expect(whole.has(one)).toBe(true)
    const without = (name: string): Map<string, string> => new Map([...whole].filter(([own]) => own !== name))
    await expectNobody(headerOf(without(zero)))
    await expectNobody(headerOf(without(one)))
    await expectNobody(headerOf(new Map(whole).set(zero, whole.get(one) ?? '').set(one, whole.get(zero) ?? '')))
    const other = await chunked()
    await expectNobody(headerOf(new Map(whole).set(one, other.get(nameOf('rt', other).replace(/\d$/, '1')) ?? '')))
    for (const count of ['0', '1', '3', '9', ':', '999999']) {
      await expectNobody(headerOf(new Map(whole).set(zero, `${count}${(whole.get(zero) ?? '').slice(1)}`)))
    }
  })

  it('[D-CK-08][F-MO-5] in any order, and beside names that nobody wrote, are the session', async () => {
    const whole = await chunked()
    const base = nameOf('rt', whole).replace(/\.\d$/, '')
    const extra = ['2', '999999', '-1', '1e9', '00', '01'].map((index) => `${base}.${index}=x`)
    const cookie = [...extra, headerOf([...whole].toReversed())].join('; ')
    expect((await scripted.agent.browser().get('session', { cookie })).json['is_logged_in']).toBe(true)
  })
})

describe('late answers of an earlier session', () => {
  it('change nothing after a login, in whatever order they land', async () => {
    const lateRefresh = await scripted.agent.browser().post('refresh', undefined, { cookie: headerOf(cookies) })
    expect(lateRefresh.status).toBe(200)
    for (const landing of [lateRefresh.setCookies, lateRefresh.setCookies.toReversed()]) {
      const second = await scripted.loggedIn()
      second.jar.store(scripted.agent.url, landing)
      const answer = await second.get('session')
      expect(answer.json['is_logged_in']).toBe(true)
      expect((await second.post('refresh')).status).toBe(200)
      expect(second.jar.names().filter((name) => /-(?:rt|id)-/.test(name))).toHaveLength(2)
    }
  })

  it('that end the earlier session do not end the later one', async () => {
    const copy = headerOf(cookies)
    const second = await scripted.logIn(browser)
    expect(second.answer.status).toBe(200)
    const ended = await scripted.agent.browser().post('refresh', undefined, { cookie: copy })
    expect([ended.status, ended.json['error_code']]).toEqual([401, 'session_expired'])
    browser.jar.store(scripted.agent.url, ended.setCookies)
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
    expect((await browser.post('refresh')).status).toBe(200)
  })
})
