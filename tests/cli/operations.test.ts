import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, identityHash, systemClock, type Ledger } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { adminKeys, clientId, issuer, startAdmin, type AdminUnderTest } from './admin-under-test.ts'

const form = 'application/x-www-form-urlencoded'
const hostile = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`

let admin: AdminUnderTest
beforeEach(async () => {
  admin = await startAdmin()
})
afterEach(() => admin.close())

interface PageAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** As a browser sends it from the page itself, unless other headers are given. */
async function send(
  path: string,
  { fields, cookie, headers = {}, at = admin, method }: SendOptions = {},
): Promise<PageAnswer> {
  const answer = await fetch(at.adminUrl + path, {
    method: method ?? (fields === undefined ? 'GET' : 'POST'),
    redirect: 'manual',
    headers: {
      ...(fields === undefined ? {} : { 'content-type': form, origin: at.adminUrl }),
      ...(cookie === undefined ? {} : { cookie }),
      ...headers,
    },
    ...(fields === undefined ? {} : { body: new URLSearchParams(fields).toString() }),
  })
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}

interface SendOptions {
  readonly fields?: Record<string, string>
  readonly cookie?: string
  readonly headers?: Record<string, string>
  readonly at?: AdminUnderTest
  readonly method?: string
}

interface SignedIn {
  readonly cookie: string
  readonly token: string
}

async function signIn(at = admin, key = adminKeys.alice): Promise<SignedIn> {
  const answer = await send('/operations/login', { fields: { key }, at })
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/operations'])
  const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';')
  const { text } = await send('/operations', { cookie, at })
  return { cookie, token: /name="form_token" value="([\w-]+)"/.exec(text)?.[1] ?? '' }
}

const revokeOf = ({ cookie, token }: SignedIn, fields: Record<string, string>, path = '/operations/revoke') =>
  send(path, { cookie, fields: { form_token: token, ...fields } })

describe('signing in to the operations page', () => {
  it('shows nothing but the form to who has not', async () => {
    const { status, text } = await send('/operations')
    expect(status).toBe(200)
    expect(text).toContain('name="key"')
    expect(text).not.toMatch(/Live sessions|form_token|Rules/)
    expect((await send('/operations/unknown')).status).toBe(404)
    expect((await send('/operationsx')).headers.get('content-type')).toBe('application/json')
  })

  it('takes the key of anybody who has one, and puts it nowhere', async () => {
    const answer = await send('/operations/login', { fields: { key: adminKeys['on-call'] } })
    const cookie = answer.headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/^th-operations=[\w-]{43}; Path=\/operations; Max-Age=1800; HttpOnly; SameSite=Strict$/)
    const { text } = await send('/operations', { cookie: cookie.split(';')[0]! })
    expect(text).toContain('on-call')
    expect(text + JSON.stringify([admin.audit.events, admin.log.lines])).not.toContain('key-of-')
    expect(admin.audit.events).toContainEqual(
      expect.objectContaining({ event: 'admin', outcome: 'success', actor: 'on-call', target: 'operations.login' }),
    )
  })

  it('refuses a wrong key, and after five of them any from this address, until a minute is over', async () => {
    const wrong = `${adminKeys.alice.slice(0, -1)}x`
    for (let count = 0; count < 5; count++) {
      const answer = await send('/operations/login', { fields: { key: wrong } })
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([401, null])
      expect(answer.text).toContain('This is no admin key.')
    }
    const answer = await send('/operations/login', { fields: { key: adminKeys.alice } })
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([429, null])
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(JSON.stringify([admin.audit.events, admin.log.lines])).not.toContain(wrong)
    expect(admin.audit.events.filter(({ reason }) => reason === 'unauthorized')).toHaveLength(5)
    // Programs are not locked out with it.
    expect((await admin.call('GET', '/admin/rules')).status).toBe(200)
  })

  it('ends with signing out, and does not open the API', async () => {
    const { cookie, token } = await signIn()
    expect((await admin.call('GET', '/admin/rules', undefined, { cookie })).status).toBe(401)
    const answer = await send('/operations/logout', { cookie, fields: { form_token: token } })
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([303, expect.stringContaining('Max-Age=0')])
    expect((await send('/operations', { cookie })).text).toContain('name="key"')
  })

  it('is not fooled by a second cookie of that name, or by one that was made up', async () => {
    const { cookie } = await signIn()
    for (const shown of [`${cookie}; th-operations=x`, `th-operations=${'A'.repeat(43)}`, 'th-operations=']) {
      expect((await send('/operations', { cookie: shown })).text).toContain('name="key"')
    }
  })

  it('lasts for half an hour, and wrong keys are held against an address for a minute', async () => {
    const clock = fakeClock()
    const timed = await startAdmin({ clock })
    try {
      const { cookie, token } = await signIn(timed)
      for (let count = 0; count < 5; count++) {
        await send('/operations/login', { fields: { key: 'wrong' }, at: timed })
      }
      const fields = { key: adminKeys.alice }
      clock.advanceSeconds(59)
      expect((await send('/operations/login', { fields, at: timed })).headers.get('retry-after')).toBe('1')
      clock.advanceSeconds(1)
      expect((await send('/operations/login', { fields, at: timed })).status).toBe(303)
      clock.advanceSeconds(1739)
      expect((await send('/operations', { cookie, at: timed })).text).toContain('Live sessions')
      clock.advanceSeconds(1)
      expect((await send('/operations', { cookie, at: timed })).text).toContain('name="key"')
      const late = { form_token: token, target: 'all' }
      expect((await send('/operations/revoke/confirm', { cookie, fields: late, at: timed })).status).toBe(401)
      expect(timed.ledger.rules.size).toBe(0)
    } finally {
      await timed.close()
    }
  })

  it('is possible nowhere without keys, nor through the public listener', async () => {
    const closed = await startAdmin({ admin: { port: 0 } })
    try {
      expect((await send('/operations', { at: closed })).status).toBe(404)
    } finally {
      await closed.close()
    }
    const answer = await fetch(`${admin.publicUrl}/operations`)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(await answer.text()).not.toContain('Admin key')
  })
})

describe('a form of the operations page', () => {
  const foreignHeaders: [string, Record<string, string>][] = [
    ['another origin', { origin: 'http://evil.test' }],
    ['another port', { origin: 'http://127.0.0.1:1' }],
    ['the origin null', { origin: 'null' }],
    ['an origin that only begins alike', { origin: 'AT.evil.test' }],
    ['what the browser calls same-site', { 'sec-fetch-site': 'same-site' }],
    ['what the browser calls cross-site', { 'sec-fetch-site': 'cross-site' }],
  ]

  it.each(foreignHeaders)('is refused from %s', async (_from, given) => {
    const headers = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name, value.replace('AT', admin.adminUrl)]),
    )
    const session = await admin.session()
    const { cookie, token } = await signIn()
    const fields = { form_token: token, target: 'all' }
    for (const path of [
      '/operations/revoke',
      '/operations/revoke/confirm',
      '/operations/logout',
      '/operations/login',
    ]) {
      const answer = await send(path, { cookie, headers, fields: { ...fields, key: adminKeys.alice } })
      expect([path, answer.status, answer.headers.get('set-cookie')]).toEqual([path, 403, null])
    }
    expect(admin.ledger.rules.endOf(session)).toBeUndefined()
    expect((await send('/operations', { cookie })).text).toContain('Live sessions')
  })

  it('is refused without an origin, without the token, and with that of another session', async () => {
    const [alice, other] = [await signIn(), await signIn()]
    for (const token of ['', 'x', other.token, `${alice.token}x`]) {
      const answer = await revokeOf({ cookie: alice.cookie, token }, { target: 'all' }, '/operations/revoke/confirm')
      expect([token, answer.status]).toEqual([token, 403])
    }
    const { host } = new URL(admin.adminUrl)
    const raw = await fetch(`http://${host}/operations/revoke/confirm`, {
      method: 'POST',
      headers: { 'content-type': form, cookie: alice.cookie },
      body: new URLSearchParams({ form_token: alice.token, target: 'all' }),
    })
    expect(raw.status).toBe(403)
    expect(admin.ledger.rules.size).toBe(0)
    expect(admin.audit.events).toContainEqual(
      expect.objectContaining({ event: 'admin', outcome: 'refused', actor: 'alice', reason: 'untrusted_origin' }),
    )
  })

  it('is refused without a session, with another method or type, and when it is too large', async () => {
    const { cookie, token } = await signIn()
    const path = '/operations/revoke/confirm'
    const fields = { form_token: token, target: 'all' }
    expect((await send(path, { fields })).status).toBe(401)
    expect((await send(path, { cookie })).status).toBe(405)
    expect((await send('/operations', { cookie, fields })).status).toBe(405)
    expect((await send(path, { cookie, fields, headers: { 'content-type': 'text/plain' } })).status).toBe(415)
    expect((await send(path, { cookie, fields: { ...fields, value: 'x'.repeat(20_000) } })).status).toBe(413)
    expect(admin.ledger.rules.size).toBe(0)
  })
})

describe('a revocation on the operations page', () => {
  it('is worked out first, then confirmed, and tells how many sessions are over', async () => {
    const [one, two, other] = [await admin.session(), await admin.session(), await admin.session({ sub: 'user-2' })]
    const signedIn = await signIn()
    const fields = { target: 'sub', value: 'user-1', reason: 'incident-42' }
    const dryRun = await revokeOf(signedIn, fields)
    expect(dryRun.status).toBe(200)
    expect(dryRun.text).toContain('This would end 2 live sessions.')
    expect(dryRun.text).toContain(one.sid)
    expect(dryRun.text).not.toContain(other.sid)
    expect(admin.ledger.rules.size).toBe(0)
    const done = await revokeOf(signedIn, fields, '/operations/revoke/confirm')
    expect([done.status, done.headers.get('location')]).toEqual([303, '/operations'])
    expect([one, two, other].map((session) => admin.ledger.rules.endOf(session) !== undefined)).toEqual([
      true,
      true,
      false,
    ])
    const { cookie } = signedIn
    expect((await send('/operations', { cookie })).text).toContain('Done: 2 live sessions are over, on every process.')
    expect((await send('/operations', { cookie })).text).not.toContain('Done:')
    const recorded = admin.audit.events.filter(({ event }) => event === 'revocation')
    expect(recorded.map(({ actor, reason, details }) => [actor, reason, details?.dry_run])).toEqual([
      ['alice', 'incident-42', true],
      ['alice', 'incident-42', false],
    ])
  })

  it.each([
    [{ target: 'sub', value: '' }, 'sub'],
    [{ target: 'nobody', value: 'x' }, 'exactly one of'],
    [{ target: '__proto__', value: 'x' }, 'exactly one of'],
    [{ target: 'all', value: 'x' }, 'leave the value empty'],
    [{ target: 'kid', value: 'no key!' }, 'kid: must be the id of a key'],
    [{ target: 'all', value: '', before: 'yesterday' }, 'before'],
    [{ target: 'all', value: '', reason: 'free text' }, 'reason'],
  ])('is refused, and what is wrong is said: %j', async (fields, named) => {
    const signedIn = await signIn()
    for (const path of ['/operations/revoke', '/operations/revoke/confirm']) {
      const answer = await revokeOf(signedIn, fields, path)
      expect(answer.status).toBe(400)
      expect(answer.text).toMatch(new RegExp(`role="alert">\\s*[^<]*${named}`))
    }
    expect(admin.ledger.rules.size).toBe(0)
  })

  it('can be confirmed though nobody can be counted, or one record cannot be read', async () => {
    const inner = createMemoryLedger(systemClock)
    const counts = { sub: { state: 'unknown' }, sid: { state: 'counted', sessions: 2, unreadable: 1 } } as const
    const count: Ledger['directory']['count'] = async ({ key }) => counts[key.startsWith('sub:') ? 'sub' : 'sid']
    const ofSubject = async () => counts.sub
    const uncounted = await startAdmin({ ledger: { ...inner, directory: { ...inner.directory, count, ofSubject } } })
    try {
      const session = await uncounted.session()
      const { cookie, token } = await signIn(uncounted)
      const submit = (path: string, target: string, value: string) =>
        send(path, { cookie, at: uncounted, fields: { form_token: token, target, value } })
      const { text } = await submit('/operations/revoke', 'sid', session.sid)
      expect(text).toContain('This would end 2 live sessions.')
      expect(text).toContain('Not counted: 1 record that cannot be read.')
      const unknown = await submit('/operations/revoke', 'sub', 'user-1')
      expect([unknown.status, unknown.text]).toEqual([
        200,
        expect.stringContaining('How many live sessions this would end is not known.'),
      ])
      expect((await submit('/operations/revoke/confirm', 'sub', 'user-1')).status).toBe(303)
      expect(inner.rules.endOf(session)).toBe('revoked')
    } finally {
      await uncounted.close()
    }
  })

  it('that cannot be written says so', async () => {
    const inner = createMemoryLedger(systemClock)
    const unknown = async () => ({ state: 'unknown' }) as const
    const directory = { ...inner.directory, ofSubject: unknown, count: unknown, replicas: unknown }
    const broken = await startAdmin({ ledger: { ...inner, addRule: unknown, directory } })
    try {
      const { cookie, token } = await signIn(broken)
      expect((await send('/operations', { cookie, at: broken })).text).toContain('the ledger does not answer')
      const fields = { form_token: token, target: 'all' }
      const answer = await send('/operations/revoke/confirm', { cookie, at: broken, fields })
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
      expect(answer.text).toContain('nothing is certain')
    } finally {
      await broken.close()
    }
  })
})

describe('what the operations page shows', () => {
  it('has no script, and a policy that allows none, nor frames, nor caches', async () => {
    const { cookie } = await signIn()
    for (const answer of [await send('/operations'), await send('/operations', { cookie })]) {
      expect(answer.text).not.toMatch(/<script|\son\w+=|\sstyle=|javascript:|https?:\/\//)
      expect(answer.headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; style-src 'sha256-[\w+/]+=*'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
      )
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      expect(answer.headers.get('x-frame-options')).toBe('DENY')
    }
  })

  it('escapes every value: those that were typed, and those that come from the ledger', async () => {
    const ledger: Ledger = createMemoryLedger(systemClock, { clientHash: identityHash(issuer, clientId) })
    const hostileAdmin = await startAdmin({ ledger })
    try {
      const facts = { version: hostile, parts: hostile, host: hostile, pid: 1, startedAt: 0, kids: [hostile] }
      await ledger.directory.announce('hostile', facts)
      await ledger.end({ sid: hostile, reason: hostile as 'logout', keepSeconds: 60, withRule: true })
      await hostileAdmin.session({ sub: hostile, kid: hostile })
      const { cookie, token } = await signIn(hostileAdmin)
      const texts = [(await send('/operations', { cookie, at: hostileAdmin })).text]
      const each = { target: 'sub', value: hostile, before: '', reason: '' }
      for (const changes of [{}, { reason: hostile }, { before: hostile }, { target: hostile }]) {
        const fields = { form_token: token, ...each, ...changes }
        texts.push((await send('/operations/revoke', { cookie, fields, at: hostileAdmin })).text)
      }
      for (const text of texts) {
        expect(text).not.toContain('<script')
        expect(text).not.toContain('<img')
        expect(text).toContain('&#60;script&#62;')
      }
      expect(texts[0]?.split('&#60;script&#62;').length).toBeGreaterThan(5)
    } finally {
      await hostileAdmin.close()
    }
  })

  it('counts what was refused, the rules, the processes and their keys, in an hour and in a day', async () => {
    await fetch(`${admin.publicUrl}/oauth-agent/session`)
    await admin.session()
    await admin.ledger.end({ sid: 'logged-out', reason: 'logout', keepSeconds: 60, withRule: true })
    const { cookie } = await signIn()
    for (const path of ['/operations', '/operations?range=day']) {
      const { text } = await send(path, { cookie })
      expect(text).toMatch(/missing_header|untrusted_origin|missing_origin/)
      expect(text).toContain('logged-out')
      expect(text).toContain(admin.kid)
      expect(text).toContain(String(process.pid))
    }
  })
})
