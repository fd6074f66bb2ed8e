import { afterEach, describe, expect, it } from '@jest/globals'
import type { CapabilityOptions, OAuthAgentOptions } from '@token-handler/oauth-agent'
import { createMemoryLedger, type AuditEvent, silentAuditLog } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { generateCapabilitySigning, jwtCapability, presignedCapability } from './capability-options.ts'
import type { AgentAnswer, Browser } from './running-agent.ts'
import { startScripted, type Scripted, type ScriptedSetup } from './scripted.ts'

process.env['AWS_ACCESS_KEY_ID'] = 'an-access-key'
process.env['AWS_SECRET_ACCESS_KEY'] = 'a-secret-key-of-the-storage'

describe('POST capabilities/<name>', () => {
  let scripted: Scripted
  let events: AuditEvent[]
  afterEach(() => scripted.close())

  async function start(
    capabilities: readonly CapabilityOptions[],
    {
      claims = {},
      options = {},
      ...setup
    }: ScriptedSetup & { claims?: object; options?: Partial<OAuthAgentOptions> } = {},
  ): Promise<Browser> {
    events = []
    const audit = { ...silentAuditLog, record: (event: AuditEvent) => void events.push(event) }
    const all = { capabilities, capabilitySigning: generateCapabilitySigning(), detailedErrors: true, ...options }
    scripted = await startScripted({ audit, ...setup, options: all })
    scripted.server.idToken = { claims: { ...claims } }
    const browser = await scripted.loggedIn()
    events.length = 0
    return browser
  }
  const ask = (browser: Browser, name: string, input: object = {}): Promise<AgentAnswer> =>
    browser.post(`capabilities/${name}`, JSON.stringify(input), { 'content-type': 'application/json' })
  const code = ({ status, json }: AgentAnswer): unknown[] => [status, json['error_code']]
  const file = { file: 'a.txt', content_type: 'text/plain', content_length: 5 }

  it('issues for a live session, says how long it lives, and records it', async () => {
    const browser = await start([jwtCapability])
    const answer = await ask(browser, 'realtime')
    expect([answer.status, answer.json['kind'], answer.json['expires_in']]).toEqual([200, 'jwt', 300])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.setCookies).toEqual([])
    expect(events).toMatchObject([
      {
        event: 'capability',
        outcome: 'success',
        capability: 'realtime',
        subject: 'subject-1',
        details: { expires_in: 300 },
      },
    ])
    expect(JSON.stringify(events)).not.toContain(String(answer.json['token']))
    expect(scripted.agent.log()).not.toContain(String(answer.json['token']))
  })

  it('issues nothing without a session, whatever the name', async () => {
    await start([jwtCapability])
    const stranger = scripted.agent.browser()
    expect(code(await ask(stranger, 'realtime'))).toEqual([401, 'session_expired'])
    expect(code(await ask(stranger, 'unknown'))).toEqual([401, 'session_expired'])
    expect(events).toMatchObject([{ outcome: 'refused', reason: 'session_expired' }, { outcome: 'refused' }])
  })

  it('issues nothing to a session that a rule or a logout ended, and nothing to a copy of its cookies', async () => {
    const browser = await start([jwtCapability])
    const header = browser.jar.header(new URL('x', scripted.agent.url))
    await browser.post('logout')
    const copied = await browser.post('capabilities/realtime', undefined, { cookie: header })
    expect(code(copied)).toEqual([401, 'session_expired'])
  })

  it('issues nothing for cookies that were replaced', async () => {
    const browser = await start([jwtCapability])
    const header = browser.jar.header(new URL('x', scripted.agent.url))
    for (let n = 0; n < 2; n += 1) {
      await browser.post('refresh')
      scripted.clock.advanceSeconds(61)
      await browser.get('session')
    }
    expect(code(await browser.post('capabilities/realtime', undefined, { cookie: header }))).toEqual([
      401,
      'session_expired',
    ])
    expect((await ask(browser, 'realtime')).status).toBe(200)
  })

  it('answers 503 when the store is away and the rules are old', async () => {
    const clock = fakeClock()
    const ledger = createMemoryLedger(clock)
    let isAway = false
    Object.defineProperty(ledger.rules, 'areStale', { value: () => isAway })
    const show: typeof ledger.show = (shown) => (isAway ? Promise.resolve({ state: 'unknown' }) : ledger.show(shown))
    const browser = await start([jwtCapability], { clock, ledger: { ...ledger, show } })
    isAway = true
    const answer = await ask(browser, 'realtime')
    expect([...code(answer), answer.headers.get('retry-after')]).toEqual([503, 'store_unavailable', '2'])
    expect(events).toMatchObject([{ event: 'capability', outcome: 'failure', reason: 'store_unavailable' }])
  })

  it('is behind the guards', async () => {
    const browser = await start([jwtCapability])
    const headers = { origin: 'https://evil.example' }
    expect(code(await browser.post('capabilities/realtime', undefined, headers))).toEqual([403, 'untrusted_origin'])
    expect((await browser.get('capabilities/realtime')).status).toBe(405)
  })

  it('answers 404 to unknown names, and has no such path where none is configured', async () => {
    const browser = await start([jwtCapability])
    expect(code(await ask(browser, 'toString'))).toEqual([404, 'not_found'])
    expect(code(await ask(browser, '%2e%2e'))).toEqual([404, 'not_found'])
    await scripted.close()
    const other = await start([], { options: { capabilitySigning: undefined } })
    expect(code(await ask(other, 'realtime'))).toEqual([404, 'not_found'])
    expect((await other.get('jwks.json')).status).toBe(404)
  })

  it('asks for scopes, roles and claims, nested ones too, which the SPA is never shown', async () => {
    const roles = [{ name: 'editor', claim: 'realm_access.roles', values: ['editor', 'admin'] }]
    const capabilities = [
      { ...jwtCapability, name: 'role', roles: ['editor'] },
      { ...jwtCapability, name: 'claim', claims: { 'org.tier': [1] } },
      { ...jwtCapability, name: 'text', claims: { 'org.tier': ['1'] } },
      { ...jwtCapability, name: 'scope', scopes: ['unheard-of'] },
    ]
    const claims = { realm_access: { roles: ['reader', 'editor'] }, org: { tier: 1 } }
    const browser = await start(capabilities, { claims, options: { roles } })
    const answers = await Promise.all(['role', 'claim', 'text', 'scope'].map((name) => ask(browser, name)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 403, 403])
    expect(answers[3]?.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="unheard-of"')
    expect((await browser.get('session')).text).not.toMatch(/editor|tier/)
    await scripted.close()
    const without = await start(capabilities, { options: { roles } })
    expect(code(await ask(without, 'role'))).toEqual([403, 'insufficient_scope'])
  })

  it('challenges for a stronger or a more recent login (RFC 9470)', async () => {
    const browser = await start([{ ...jwtCapability, acrValues: ['mfa', 'hwk'], maxAgeSeconds: 60 }])
    const answer = await ask(browser, 'realtime')
    expect(code(answer)).toEqual([401, 'step_up_required'])
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_user_authentication", acr_values="mfa hwk", max_age="60"',
    )
    await scripted.close()
    const strong = await start([{ ...jwtCapability, acrValues: ['mfa', 'hwk'], maxAgeSeconds: 60 }], {
      claims: { acr: 'mfa' },
    })
    expect((await ask(strong, 'realtime')).status).toBe(200)
    scripted.clock.advanceSeconds(120)
    expect(code(await ask(strong, 'realtime'))).toEqual([401, 'step_up_required'])
  })

  it('asks for a network, as trusted proxies tell it', async () => {
    const capabilities = [{ ...jwtCapability, networks: ['10.1.0.0/16', '2001:db8::/32'] }]
    const browser = await start(capabilities, { options: { trustedProxies: ['127.0.0.1'] } })
    const from = async (chain: string) =>
      (await browser.post('capabilities/realtime', undefined, { 'x-forwarded-for': chain })).status
    expect([await from('10.1.2.3'), await from('2001:db8::1'), await from('10.2.0.1')]).toEqual([200, 200, 403])
    expect(await from('10.1.2.3, 192.0.2.1')).toBe(403)
    expect((await ask(browser, 'realtime')).status).toBe(403)
  })

  it('counts each user for himself', async () => {
    const browser = await start([{ ...jwtCapability, rateLimit: { requests: 2, windowSeconds: 60 } }])
    scripted.server.subject = 'subject-2'
    const other = await scripted.loggedIn()
    const statuses = [await ask(browser, 'realtime'), await ask(browser, 'realtime')].map(({ status }) => status)
    const limited = await ask(browser, 'realtime')
    expect([...statuses, ...code(limited)]).toEqual([200, 200, 429, 'too_many_requests'])
    expect(limited.headers.get('retry-after')).toBe('60')
    expect((await ask(other, 'realtime')).status).toBe(200)
    scripted.clock.advanceSeconds(60)
    expect((await ask(browser, 'realtime')).status).toBe(200)
  })

  it('never outlives the session', async () => {
    const session = { absoluteSeconds: 3600, idleSeconds: 3600 }
    const browser = await start([jwtCapability, presignedCapability('PUT', {})], { session })
    scripted.clock.advanceSeconds(3500)
    expect((await ask(browser, 'realtime')).json['expires_in']).toBe(100)
    const signed = await ask(browser, 'put', file)
    expect(signed.json['expires_in']).toBe(100)
    expect(new URL(String(signed.json['url'])).searchParams.get('X-Amz-Expires')).toBe('100')
  })

  it.each([
    ['..'],
    ['.'],
    ['a/b'],
    ['/a'],
    ['a\\b'],
    ['%2e%2e'],
    ['a%2fb'],
    ['a\u0000b'],
    ['a\nb'],
    [''],
    [' a'],
    ['a '],
    ['a\u202Eb'],
    ['a\u200Bb'],
    ['${filename}'],
    ['\u2028'],
    ['x'.repeat(256)],
    ['é'.repeat(128)],
    ['a\uD800'],
  ])('refuses the name %j', async (name) => {
    const browser = await start([presignedCapability('PUT', {})])
    expect(code(await ask(browser, 'put', { ...file, file: name }))).toEqual([400, 'invalid_request'])
  })

  it('brings names to one Unicode form, and keeps each user below his own prefix', async () => {
    const browser = await start([presignedCapability('PUT', {})])
    const [composed, decomposed] = [
      await ask(browser, 'put', { ...file, file: 'é?#.txt' }),
      await ask(browser, 'put', { ...file, file: 'e\u0301?#.txt' }),
    ]
    const paths = [composed, decomposed].map(({ json }) => new URL(String(json['url'])).pathname)
    expect(paths).toEqual(['/files/uploads/subject-1/%C3%A9%3F%23.txt', '/files/uploads/subject-1/%C3%A9%3F%23.txt'])
  })

  it('takes exactly the members that it knows', async () => {
    const browser = await start([
      presignedCapability('PUT', { checksumRequired: true }),
      presignedCapability('GET', {}),
    ])
    const sum = { checksum_sha256: Buffer.alloc(32).toString('base64') }
    expect((await ask(browser, 'put', { ...file, ...sum })).status).toBe(200)
    const wrong: object[] = [
      file,
      { ...file, ...sum, key: 'x' },
      { ...file, ...sum, sub: 'subject-2' },
      { ...file, ...sum, content_type: 'text/html' },
      { ...file, ...sum, content_type: 'image/' },
      { ...file, ...sum, content_type: 'image/png; a=b' },
      { ...file, ...sum, content_length: 1001 },
      { ...file, ...sum, content_length: -1 },
      { ...file, ...sum, content_length: 1.5 },
      { ...file, ...sum, content_length: '1e2' },
      { ...file, ...sum, file: ['a'] },
      { ...file, checksum_sha256: 'AAAA' },
    ]
    for (const input of wrong)
      expect([input, ...code(await ask(browser, 'put', input))]).toEqual([input, 400, 'invalid_request'])
    expect(code(await ask(browser, 'get', file))).toEqual([400, 'invalid_request'])
    const twice = await browser.post('capabilities/get', '{"file":"a","file":"b"}', {
      'content-type': 'application/json',
    })
    expect(code(twice)).toEqual([400, 'invalid_request'])
    expect((await browser.post('capabilities/get', { file: 'a.txt' })).status).toBe(200)
  })

  it.each([[undefined], ['a/b'], ['..'], [''], ['e\u0301'], [['a']], [1.5]])(
    'issues nothing when the claim is %j',
    async (tenant) => {
      const capabilities = [presignedCapability('GET', { key: '{tenant}/{file}' })]
      const browser = await start(capabilities, { claims: { tenant } })
      expect(code(await ask(browser, 'get', { file: 'a.txt' }))).toEqual([403, 'claim_missing'])
      expect(events).toMatchObject([{ event: 'capability', outcome: 'refused', reason: 'claim_missing' }])
    },
  )

  it('issues nothing without credentials of the storage, and says nothing of them', async () => {
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env
    Object.assign(process.env, {
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_SHARED_CREDENTIALS_FILE: '/nowhere',
      AWS_CONFIG_FILE: '/nowhere',
    })
    delete process.env['AWS_ACCESS_KEY_ID']
    try {
      const browser = await start([presignedCapability('GET', {})])
      expect(code(await ask(browser, 'get', { file: 'a.txt' }))).toEqual([502, 'capability_unavailable'])
      expect(scripted.agent.log()).not.toContain(secret)
    } finally {
      process.env['AWS_ACCESS_KEY_ID'] = id
    }
  })
})
