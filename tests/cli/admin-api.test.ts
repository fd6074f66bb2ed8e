import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, identityHash, systemClock, type Ledger } from '@token-handler/shared'
import { adminKeys, clientId, issuer, request, startAdmin, type AdminUnderTest } from './admin-under-test.ts'
import { until } from '../support/until.ts'

let admin: AdminUnderTest
beforeEach(async () => {
  admin = await startAdmin()
})
afterEach(() => admin.close())

const revoke = (body: Record<string, unknown>) => admin.call('POST', '/admin/revoke', body)
const isOver = (identity: Parameters<Ledger['rules']['endOf']>[0]): boolean =>
  admin.ledger.rules.endOf(identity) !== undefined

describe('who may use the admin API', () => {
  const paths = [
    ['POST', '/admin/sessions'],
    ['POST', '/admin/revoke'],
    ['GET', '/admin/rules'],
    ['GET', '/admin/replicas'],
    ['GET', '/admin/keys'],
    ['GET', '/admin/unknown'],
    ['GET', '/admin'],
    ['GET', '/admin/'],
  ] as const

  it.each(paths)('nobody without a key: %s %s', async (method, path) => {
    const body = method === 'POST' ? { all: true } : undefined
    for (const authorization of ['', 'Bearer ', 'Bearer wrong', `Basic ${adminKeys.alice}`, adminKeys.alice]) {
      const answer = await admin.call(method, path, body, { authorization })
      expect([path, answer.status, answer.json['code']]).toEqual([path, 401, 'unauthorized'])
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
    const almost = `${adminKeys.alice.slice(0, -1)}x`
    expect((await admin.call(method, path, body, { authorization: `Bearer ${almost}` })).status).toBe(401)
    expect(admin.ledger.rules.size).toBe(0)
    expect(admin.audit.events).toContainEqual(
      expect.objectContaining({ event: 'admin', outcome: 'refused', reason: 'unauthorized' }),
    )
    expect(JSON.stringify(admin.audit.events) + JSON.stringify(admin.log.lines)).not.toContain(almost)
  })

  it('whoever holds one of the keys, by the name of it', async () => {
    for (const [name, key] of Object.entries(adminKeys)) {
      expect((await admin.call('GET', '/admin/rules', undefined, { authorization: `bearer ${key}` })).status).toBe(200)
      expect(admin.audit.events.at(-1)).toMatchObject({
        event: 'admin',
        outcome: 'success',
        actor: name,
        target: 'rules',
        method: 'GET',
      })
    }
    expect(JSON.stringify([admin.audit.events, admin.log.lines])).not.toContain('key-of-')
  })

  it('no page, not even with a key', async () => {
    const authorization = `Bearer ${adminKeys.alice}`
    const pages: Record<string, string>[] = [
      { origin: 'https://evil.test' },
      { origin: 'null' },
      { origin: admin.adminUrl },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-origin' },
    ]
    for (const page of pages) {
      const answer = await admin.call('POST', '/admin/revoke', { all: true }, { authorization, ...page })
      expect([page, answer.status, answer.json['code']]).toEqual([page, 403, 'untrusted_origin'])
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    }
    const preflight = await admin.call('OPTIONS', '/admin/revoke', undefined, { origin: 'https://evil.test' })
    expect(preflight.status).toBe(403)
    expect(admin.ledger.rules.size).toBe(0)
  })

  it('nobody through the public listener', async () => {
    const authorization = `Bearer ${adminKeys.alice}`
    const origin = 'http://localhost:3000'
    for (const [method, path] of paths) {
      for (const target of [path, `/oauth-agent${path}`, `/api${path}`, `/api/..${path}`]) {
        const body = method === 'POST' ? { all: true } : undefined
        const answer = await request(`${admin.publicUrl}${target}`, method, body, {
          authorization,
          origin,
          'token-handler-version': '1',
        })
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.text).not.toMatch(/"(?:rules|replicas|keys|sessions)"/)
      }
    }
    expect(admin.ledger.rules.size).toBe(0)
    expect(admin.audit.events.filter(({ event }) => event === 'admin')).toEqual([])
  })

  it('nobody where no key is configured; probes and metrics need none', async () => {
    const closed = await startAdmin({ admin: { port: 0 } })
    try {
      expect((await closed.call('GET', '/admin/rules')).status).toBe(404)
      expect((await closed.call('POST', '/admin/revoke', { all: true })).status).toBe(405)
      for (const path of ['/livez', '/metrics', '/livez?verbose', '/metrics?format=text']) {
        expect((await closed.call('GET', path, undefined, {})).status).toBe(200)
        expect((await admin.call('GET', path, undefined, {})).status).toBe(200)
      }
    } finally {
      await closed.close()
    }
  })
})

describe('a revocation', () => {
  it('ends the sessions of a subject, and no others', async () => {
    const [one, two, other] = [await admin.session(), await admin.session(), await admin.session({ sub: 'user-2' })]
    const answer = await revoke({ sub: 'user-1', reason: 'incident-42' })
    expect([answer.status, answer.json]).toEqual([
      200,
      {
        target: 'subject',
        dry_run: false,
        sessions: 2,
        before: expect.stringMatching(/^\d{4}-.*Z$/),
        expires_at: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ])
    expect([one, two, other].map(isOver)).toEqual([true, true, false])
    expect(admin.audit.events.find(({ event }) => event === 'revocation')).toEqual({
      event: 'revocation',
      outcome: 'success',
      actor: 'alice',
      target: 'subject',
      reason: 'incident-42',
      subject: 'user-1',
      sid: undefined,
      client: undefined,
      details: { dry_run: false, before: answer.json['before'], sessions: 2 },
    })
    expect(admin.log.events()).toContain('revocation')
  })

  it('of one session ends it though the clock was set back since it began', async () => {
    const [one, other] = await Promise.all(
      [3_600_000, 3_600_000].map((ahead) => admin.session({ startedAt: Date.now() + ahead })),
    )
    if (one === undefined || other === undefined) throw new Error('both are there')
    const answer = await revoke({ sid: one.sid })
    expect(answer.json).toMatchObject({ target: 'session', sessions: 1, before: expect.stringMatching(/^20\d\d-.*Z$/) })
    expect([one, other].map(isOver)).toEqual([true, false])
    const early = new Date(other.startedAt - 1).toISOString()
    expect((await revoke({ sid: other.sid, before: early })).status).toBe(200)
    expect(isOver(other)).toBe(false)
  })

  it('is only worked out by a dry run', async () => {
    const [one, two] = [await admin.session(), await admin.session()]
    const answer = await revoke({ sub: 'user-1', dry_run: true })
    expect(answer.json).toEqual({ target: 'subject', dry_run: true, sessions: 2 })
    expect([one, two].map(isOver)).toEqual([false, false])
    expect(admin.ledger.rules.size).toBe(0)
    expect(admin.audit.events).toContainEqual(
      expect.objectContaining({ event: 'revocation', details: { dry_run: true, sessions: 2 } }),
    )
  })

  it('is about a session, one of the authorization server, a client, a key, or all', async () => {
    const kid = admin.kid
    const asSessionHash = identityHash(issuer, 'as-1')
    const targets: [Record<string, unknown>, string, Partial<Parameters<AdminUnderTest['session']>[0]>][] = [
      [{ as_sid: 'as-1' }, 'as_session', { asSessionHash }],
      [{ kid }, 'key', { kid }],
      [{ client: clientId }, 'client', {}],
      [{ all: true }, 'all', {}],
    ]
    const sid = await admin.session()
    expect((await revoke({ sid: sid.sid, dry_run: true })).json).toEqual({
      target: 'session',
      dry_run: true,
      sessions: 1,
    })
    expect((await revoke({ sid: sid.sid })).json).toMatchObject({ target: 'session', sessions: 1 })
    expect(isOver(sid)).toBe(true)
    for (const [body, target, facts] of targets) {
      const ruledAt = Date.now()
      await until('another millisecond', () => Date.now() > ruledAt)
      const session = await admin.session(facts)
      expect((await revoke({ ...body, dry_run: true })).json).toEqual({ target, dry_run: true, sessions: 1 })
      expect([target, isOver(session)]).toEqual([target, false])
      const answer = await revoke(body)
      expect([answer.status, answer.json['target'], answer.json['sessions']]).toEqual([200, target, undefined])
      expect([target, isOver(session)]).toEqual([target, true])
    }
  })

  it('leaves alone what began after the given instant; the future counts as now', async () => {
    const session = await admin.session()
    const before = new Date(session.startedAt).toISOString()
    expect((await revoke({ all: true, before, dry_run: true })).json).toEqual({
      target: 'all',
      dry_run: true,
      before,
      sessions: 0,
    })
    await revoke({ all: true, before })
    expect(isOver(session)).toBe(false)
    const answer = await revoke({ all: true, before: '2999-01-01T00:00:00+01:00' })
    expect(Date.parse(String(answer.json['before']))).toBeLessThanOrEqual(Date.now() + 1000)
    expect(isOver(session)).toBe(true)
    expect(isOver({ ...session, startedAt: session.startedAt + 600_000 })).toBe(false)
  })

  it('of another issuer is about that issuer’s subjects', async () => {
    const [ours, theirs] = [
      await admin.session(),
      await admin.session({ subjectHash: identityHash('https://other', 'user-1') }),
    ]
    await revoke({ sub: 'user-1', issuer: 'https://other' })
    expect([ours, theirs].map(isOver)).toEqual([false, true])
  })

  it.each([
    [{}, 'exactly one of'],
    [{ sub: 'a', sid: 'b' }, 'exactly one of'],
    [{ all: false }, 'all'],
    [{ sub: '' }, 'sub'],
    [{ sub: 1 }, 'sub'],
    [{ kid: 'no key!' }, 'kid: must be the id of a key'],
    [{ all: true, before: 'yesterday' }, 'before'],
    [{ all: true, before: 1700000000 }, 'before'],
    [{ all: true, reason: 'free text' }, 'reason'],
    [{ all: true, dryrun: true }, 'dryrun'],
    [{ all: true, dry_run: 'yes' }, 'dry_run'],
    [[], 'object'],
    [null, 'object'],
  ])('is refused and named when it is not right: %j', async (body, named) => {
    const answer = await admin.call('POST', '/admin/revoke', body)
    expect([answer.status, answer.json['code']]).toEqual([400, 'invalid_request'])
    expect(String(answer.json['problems'])).toContain(named)
    expect(admin.ledger.rules.size).toBe(0)
  })

  it('is refused when it is no JSON, too large, or called otherwise', async () => {
    const authorization = `Bearer ${adminKeys.alice}`
    const send = async (body: string, type?: string): Promise<unknown> => {
      const headers = { authorization, ...(type === undefined ? {} : { 'content-type': type }) }
      return (await admin.call('POST', '/admin/revoke', body, headers)).status
    }
    expect(await send('{')).toBe(400)
    expect(await send('{"all":true}', 'text/plain')).toBe(415)
    expect(await send('all=true', 'application/x-www-form-urlencoded')).toBe(415)
    expect(await send(JSON.stringify({ sub: 'x'.repeat(20_000) }))).toBe(413)
    expect((await admin.call('GET', '/admin/revoke')).headers.get('allow')).toBe('POST')
    expect((await admin.call('GET', '/admin/revoke?all=true')).status).toBe(404)
    expect(admin.ledger.rules.size).toBe(0)
  })

  it('is written though nobody can be counted, or one record cannot be read', async () => {
    const inner = createMemoryLedger(systemClock)
    const counts = { sub: { state: 'unknown' }, sid: { state: 'counted', sessions: 2, unreadable: 1 } } as const
    const count: Ledger['directory']['count'] = async ({ key }) => counts[key.startsWith('sub:') ? 'sub' : 'sid']
    const uncounted = await startAdmin({ ledger: { ...inner, directory: { ...inner.directory, count } } })
    try {
      const post = (body: unknown) => uncounted.call('POST', '/admin/revoke', body)
      const [one, other] = [await uncounted.session(), await uncounted.session({ sub: 'user-2' })]
      const answer = await post({ sub: 'user-1' })
      expect([answer.status, Object.keys(answer.json)]).toEqual([200, ['target', 'dry_run', 'before', 'expires_at']])
      expect([one, other].map((each) => inner.rules.endOf(each))).toEqual(['revoked', undefined])
      const known = { target: 'session', sessions: 2, unreadable: 1 }
      expect((await post({ sid: other.sid, dry_run: true })).json).toEqual({ ...known, dry_run: true })
      expect((await post({ sid: other.sid })).json).toMatchObject(known)
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
      const answers = [
        await broken.call('POST', '/admin/revoke', { all: true }),
        await broken.call('POST', '/admin/revoke', { sub: 'u', dry_run: true }),
        await broken.call('POST', '/admin/sessions', { sub: 'u' }),
        await broken.call('GET', '/admin/replicas'),
        await broken.call('GET', '/admin/keys'),
      ]
      for (const { status, json, headers } of answers) {
        expect([status, json['code'], headers.get('retry-after')]).toEqual([503, 'store_unavailable', '2'])
      }
      expect(broken.audit.events).toContainEqual(
        expect.objectContaining({ event: 'revocation', outcome: 'failure', reason: 'store_unavailable' }),
      )
    } finally {
      await broken.close()
    }
  })
})

describe('what operators see', () => {
  it('the live sessions of a subject, and one session, without a token', async () => {
    const asSessionHash = identityHash(issuer, 'as-1')
    const older = await admin.session({ asSessionHash, kid: admin.kid })
    await until('another millisecond', () => Date.now() > older.startedAt)
    const newer = await admin.session()
    await admin.session({ sub: 'user-2' })
    const answer = await admin.call('POST', '/admin/sessions', { sub: 'user-1' })
    const sessions = answer.json['sessions'] as Record<string, unknown>[]
    expect(sessions.map(({ sid }) => sid)).toEqual([newer.sid, older.sid])
    expect(sessions[1]).toEqual({
      sid: older.sid,
      started_at: new Date(older.startedAt).toISOString(),
      last_active_at: new Date(older.startedAt).toISOString(),
      idle_expires_at: new Date(older.startedAt + 3_600_000).toISOString(),
      expires_at: new Date(older.startedAt + 43_200_000).toISOString(),
      generation: 0,
      subject_hash: older.subjectHash,
      as_session_hash: asSessionHash,
      client_hash: identityHash(issuer, clientId),
      kid: admin.kid,
    })
    const one = await admin.call('POST', '/admin/sessions', { sid: newer.sid })
    expect((one.json['sessions'] as unknown[]).length).toBe(1)
    expect((await admin.call('POST', '/admin/sessions', { sid: 'unknown' })).json).toEqual({ sessions: [] })
    for (const body of [{}, { sub: 'a', sid: 'b' }]) {
      expect((await admin.call('POST', '/admin/sessions', body)).status).toBe(400)
    }
  })

  it('the rules in force: those about many before those about one, and how many there are', async () => {
    const session = await admin.session()
    await revoke({ sid: session.sid })
    await revoke({ sub: 'user-1' })
    await revoke({ kid: 'k1' })
    await admin.ledger.end({ sid: 'logged-out', reason: 'logout', keepSeconds: 60, withRule: true })
    const { json } = await admin.call('GET', '/admin/rules')
    expect(json).toMatchObject({ total: 4, by_target: { session: 2, subject: 1, key: 1, all: 0 } })
    const rules = json['rules'] as Record<string, unknown>[]
    expect(rules.map(({ target }) => target).slice(2)).toEqual(['session', 'session'])
    expect(rules).toContainEqual(expect.objectContaining({ target: 'key', id: 'k1', reason: 'revoked' }))
    expect(rules).toContainEqual({
      target: 'session',
      id: 'logged-out',
      reason: 'logout',
      expires_at: expect.any(String),
    })
  })

  it('the processes, how they go by the rules, and their keys', async () => {
    const { json } = await admin.call('GET', '/admin/replicas')
    expect(json['replicas']).toEqual([
      expect.objectContaining({ parts: 'agent and proxy', pid: process.pid, kids: [admin.kid], stale_seconds: 0 }),
    ])
    const [{ id }] = json['replicas'] as [{ id: string }]
    expect((await admin.call('GET', '/admin/keys')).json).toEqual({
      replicas: 1,
      keys: [{ kid: admin.kid, replicas: [id] }],
    })
  })
})
