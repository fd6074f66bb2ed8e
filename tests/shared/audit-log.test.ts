import { afterEach, describe, expect, it } from '@jest/globals'
import { identityHash } from '@token-handler/shared'
import { networkPrefix } from '../../shared/src/audit/network.ts'
import { until } from '../support/until.ts'
import { issuer, startAudit, systemError, type AuditUnderTest } from './audit-kit.ts'

const login = {
  event: 'login',
  outcome: 'success',
  subject: 'user-1',
  sid: 'a-session-id',
  scope: 'openid orders',
  address: '203.0.113.77',
  correlationId: 'request-1',
  details: { generation: 0, expires_in: 300 },
} as const

let test: AuditUnderTest
afterEach(() => test.audit.close())

describe('a record', () => {
  it('names client, scopes and when, and nobody by name', async () => {
    test = startAudit()
    test.audit.record(login)
    const [opened, record] = await test.records()
    expect(opened).toMatchObject({ event: 'log_opened', n: 0, log: { kid: 'k1', part: 0 } })
    expect(record).toEqual({
      v: 1,
      type: 'audit',
      chain: opened?.chain,
      n: 1,
      time: new Date(test.clock.now()).toISOString(),
      event: 'login',
      outcome: 'success',
      client: 'spa-client',
      scopes: ['openid', 'orders'],
      details: { generation: 0, expires_in: 300 },
      who_hash: expect.any(String),
      who: {
        subject: expect.stringMatching(/^[\w-]{22}$/),
        sid: expect.stringMatching(/^[\w-]{22}$/),
        address: '203.0.113.0/24',
        id: 'request-1',
        salt: expect.any(String),
      },
      hash: expect.any(String),
    })
    for (const secret of ['user-1', 'a-session-id', '203.0.113.77']) expect(test.sink.text).not.toContain(secret)
  })

  it('gives one user one pseudonym, whether the subject or its hash is known, and another key another', async () => {
    test = startAudit()
    test.audit.record(login)
    test.audit.record({ event: 'request', outcome: 'success', subjectHash: identityHash(issuer, 'user-1') })
    test.audit.record({ ...login, subject: 'user-2' })
    const [, first, second, other] = (await test.records()).map(({ who }) => who?.subject)
    expect(second).toBe(first)
    expect(other).not.toBe(first)
    await test.audit.close()
    test = startAudit()
    test.audit.record(login)
    expect((await test.records())[1]?.who?.subject).not.toBe(first)
  })

  it('names the subject as well where that is configured', async () => {
    test = startAudit({ isSubjectClear: true })
    test.audit.record(login)
    expect((await test.records())[1]?.who).toMatchObject({ sub: 'user-1', subject: expect.any(String) })
  })

  it('leaves out what has not the form of its member, and cuts what is too long', async () => {
    test = startAudit()
    test.audit.record({
      event: 'admin',
      outcome: 'refused',
      reason: 'a reason\nwith lines',
      correlationId: '<script>',
      address: 'not an address',
      actor: 'x'.repeat(1000),
      scope: 'y '.repeat(5000),
      details: { kids: Array.from({ length: 100 }, (_, index) => `k${index}`), files: [] },
    })
    const [, record] = await test.records()
    expect(record?.reason).toBeUndefined()
    expect(record?.who).toBeUndefined()
    expect(record?.actor).toHaveLength(256)
    expect(record?.scopes?.length).toBeLessThan(600)
    expect(record?.details?.kids).toHaveLength(64)
  })

  it.each([
    ['192.0.2.255', '192.0.2.0/24'],
    ['2001:db8:1:23ff::1', '2001:db8:1:2300::/56'],
    ['2001:0DB8:0001:2300:5:6:7:8', '2001:db8:1:2300::/56'],
    ['::1', '::/56'],
    ['fe80::1%eth0', 'fe80::/56'],
    ['2001:db8::', '2001:db8::/56'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3::/56'],
    ['', undefined],
    ['localhost', undefined],
    [undefined, undefined],
  ])('shows of the address %s the network %s', (address, network) => {
    test = startAudit()
    expect(networkPrefix(address)).toBe(network)
  })
})

describe('refusals that repeat', () => {
  it('are recorded at once, then counted, and told in one record', async () => {
    test = startAudit()
    const refused = { event: 'guard_refused', outcome: 'refused', reason: 'untrusted_origin', route: '/api' } as const
    for (let times = 0; times < 50; times++) test.audit.record({ ...refused, correlationId: `id-${times}` })
    test.audit.record({ ...refused, address: '192.0.2.1' })
    test.audit.record({ ...refused, reason: 'cross_site' })
    const records = (await test.records()).slice(1)
    expect(records.map(({ reason, who, details }) => [reason, who?.address, who?.id, details?.count])).toEqual([
      ['untrusted_origin', undefined, 'id-0', undefined],
      ['untrusted_origin', '192.0.2.0/24', undefined, undefined],
      ['cross_site', undefined, undefined, undefined],
      ['untrusted_origin', undefined, undefined, 49],
    ])
    expect(test.audit.counts()).toMatchObject({ recorded: 52, lost: 0 })
  })

  it.each([
    { event: 'capability', outcome: 'refused', reason: 'session_expired', capability: 'realtime' },
    { event: 'refresh', outcome: 'refused', reason: 'no_session' },
    { event: 'login', outcome: 'failure', reason: 'unknown_state' },
    { event: 'login', outcome: 'pending', reason: 'store_unavailable' },
    { event: 'backchannel_logout', outcome: 'refused', reason: 'invalid_logout_token' },
    { event: 'admin', outcome: 'refused', reason: 'unauthorized', target: 'sessions' },
  ] as const)('are those that nobody is named in, too: $event $reason', async (event) => {
    test = startAudit()
    const address = '192.0.2.1'
    for (let times = 0; times < 50; times++) test.audit.record({ ...event, address })
    test.audit.record({ ...event, address: '198.51.100.1' })
    expect((await test.records()).slice(1).map(({ who, details }) => [who?.address, details?.count])).toEqual([
      ['192.0.2.0/24', undefined],
      ['198.51.100.0/24', undefined],
      ['192.0.2.0/24', 49],
    ])
  })

  it('are told apart by capability and by what an operator wanted', async () => {
    test = startAudit()
    const anonymous = { outcome: 'refused', reason: 'a_reason', address: '192.0.2.1' } as const
    test.audit.record({ ...anonymous, event: 'capability', capability: 'realtime' })
    test.audit.record({ ...anonymous, event: 'capability', capability: 'files' })
    test.audit.record({ ...anonymous, event: 'admin', target: 'sessions' })
    test.audit.record({ ...anonymous, event: 'admin', target: 'keys' })
    expect(await test.records()).toHaveLength(5)
  })

  it.each([{ sid: 'a-session-id' }, { subject: 'user-1' }, { subjectHash: 'of-user-1' }, { actor: 'an-operator' }])(
    'are never those that name somebody: %j',
    async (named) => {
      test = startAudit()
      const refused = { event: 'refresh', outcome: 'refused', reason: 'refused', address: '192.0.2.1' } as const
      for (let times = 0; times < 5; times++) test.audit.record({ ...refused, ...named })
      expect(await test.records()).toHaveLength(6)
    },
  )

  it('are never issuances: those are recorded one by one', async () => {
    test = startAudit()
    for (let times = 0; times < 50; times++) test.audit.record(login)
    expect(await test.records()).toHaveLength(51)
  })
})

it('an event that no record can be made of is counted as lost, and stops nothing', async () => {
  test = startAudit()
  test.audit.record({
    ...login,
    details: { count: Symbol('a bug') as unknown as number },
    scope: 5 as unknown as string,
  })
  expect((await test.records()).map(({ event }) => event)).toEqual(['log_opened', 'records_lost'])
  test.audit.record(login)
  expect((await test.records()).map(({ event }) => event)).toEqual(['log_opened', 'records_lost', 'login'])
  expect(test.audit.counts().lost).toBe(1)
})

describe('a sink that is lost', () => {
  it('keeps what came first, counts the rest, and tells it once it is back', async () => {
    test = startAudit({ bufferSize: 100 })
    test.sink.failure = systemError('ENOSPC')
    for (let times = 0; times < 130; times++) test.audit.record({ ...login, correlationId: `id-${times}` })
    await until('an attempt', () => test.audit.counts().isFailing)
    expect(test.audit.counts()).toMatchObject({ lost: 30, pending: 100, written: 0 })
    expect(test.audit.isBlocking).toBe(false)
    test.sink.failure = undefined
    const records = await test.records()
    expect(records.slice(1, -1).map(({ who }) => who?.id)).toEqual(Array.from({ length: 100 }, (_, at) => `id-${at}`))
    expect(records.at(-1)).toMatchObject({ event: 'records_lost', outcome: 'failure', details: { count: 30 } })
    expect(test.audit.counts()).toMatchObject({ lost: 30, pending: 0, written: 101, isFailing: false })
    expect(test.log.events().filter((event) => event.startsWith('audit_'))).toEqual([
      'audit_failing',
      'audit_recovered',
      'audit_head',
    ])
  })

  it('blocks until it is back, where that is the policy', async () => {
    test = startAudit({ onLostSink: 'block' })
    expect(test.audit.isBlocking).toBe(false)
    test.sink.failure = systemError('EIO')
    test.audit.record(login)
    await until('the block', () => test.audit.isBlocking)
    test.sink.failure = undefined
    await until('the end of the block', () => !test.audit.isBlocking)
    expect((await test.records()).map(({ event }) => event)).toEqual(['log_opened', 'login'])
  })

  it('blocks when it does not answer and the buffer is full', async () => {
    test = startAudit({ onLostSink: 'block', bufferSize: 100 })
    const { promise, resolve } = Promise.withResolvers<void>()
    test.sink.gate = promise
    for (let times = 0; times < 99; times++) test.audit.record(login)
    expect(test.audit.isBlocking).toBe(false)
    test.audit.record(login)
    expect(test.audit.isBlocking).toBe(true)
    resolve()
    expect(await test.records()).toHaveLength(101)
    expect(test.audit.isBlocking).toBe(false)
  })

  it('is given up at a stop, which says how much is lost', async () => {
    test = startAudit()
    test.sink.failure = systemError('EPIPE')
    test.audit.record(login)
    await test.audit.close()
    expect(test.log.lines.map((line) => JSON.parse(line) as object)).toContainEqual(
      expect.objectContaining({ event: 'audit_lost', count: 1 }),
    )
  })

  it('writes the end at a stop, and where the log ended into the other one', async () => {
    test = startAudit()
    test.audit.record(login)
    await test.audit.close()
    const records = await test.records()
    expect(records.map(({ event }) => event)).toEqual(['log_opened', 'login', 'log_closed'])
    const last = records.at(-1)
    expect(test.log.lines.map((line) => JSON.parse(line) as object)).toContainEqual(
      expect.objectContaining({ event: 'audit_head', chain: last?.chain, n: 2, hash: last?.hash }),
    )
  })
})
