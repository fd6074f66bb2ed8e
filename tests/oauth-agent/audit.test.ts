import { afterEach, describe, expect, it } from '@jest/globals'
import type { OAuthAgentOptions } from '@token-handler/oauth-agent'
import { createMemoryLedger, systemClock } from '@token-handler/shared'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { json } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { faultyLedger } from './faulty-ledger.ts'
import { startScripted, type Scripted, type ScriptedSetup } from './scripted.ts'

const subject = 'subject-1'

describe('what the OAuth Agent records', () => {
  let scripted: Scripted
  let audit: KeptAudit
  afterEach(() => scripted.close())

  async function start(options: Partial<OAuthAgentOptions> = {}, setup: ScriptedSetup = {}): Promise<void> {
    audit = keptAudit()
    scripted = await startScripted({ audit, options, ...setup })
  }

  it('a call from an untrusted source, by the id that its answer carries', async () => {
    await start()
    const answer = await scripted.agent.browser().post('refresh', undefined, { origin: 'https://evil.example' })
    expect(answer.json).toEqual({ error_code: 'untrusted_origin' })
    expect(audit.events).toEqual([
      {
        event: 'guard_refused',
        outcome: 'refused',
        reason: 'untrusted_origin',
        method: 'POST',
        address: '127.0.0.1',
        correlationId: answer.headers.get('x-request-id'),
      },
    ])
  })

  const recorded = (...names: string[]) => audit.events.filter(({ event }) => names.includes(event))

  it('a login: whose session, what was granted, and by whose call', async () => {
    await start()
    const browser = scripted.agent.browser()
    const { answer } = await scripted.logIn(browser)
    const sid = browser.jar.get('__Host-Http-th-sid')[0]?.value
    expect(audit.events).toEqual([
      {
        event: 'login',
        outcome: 'success',
        sid,
        subject,
        scope: 'openid profile',
        details: { generation: 0, expires_in: expect.any(Number) },
        address: '127.0.0.1',
        correlationId: answer.headers.get('x-request-id'),
      },
    ])
  })

  it('a login once, however often its callback is posted; so do the metrics', async () => {
    await start()
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    const copy = scripted.agent.browser()
    copy.jar.restore(browser.jar.snapshot())
    const atOnce = await Promise.all([1, 2, 3].map(() => browser.post('login/end', searchParams)))
    const later = await copy.post('login/end', searchParams)
    expect([...atOnce, later].map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(audit.events.map(({ event, outcome }) => [event, outcome])).toEqual([['login', 'success']])
    expect(await scripted.agent.registry.metrics()).toMatch(/^token_handler_logins_total 1$/m)
  })

  it('a login that fails, and why', async () => {
    await start()
    const browser = scripted.agent.browser()
    await browser.post('login/end', { state: 'forged', code: 'stolen' })
    const callback = await scripted.callback(browser)
    callback.searchParams.delete('code')
    callback.searchParams.set('error', 'access_denied')
    await browser.post('login/end', callback.searchParams)
    await browser.post('login/end', new URLSearchParams('state=a&state=b'))
    const failure = { event: 'login', outcome: 'failure', address: '127.0.0.1' }
    expect(audit.events).toMatchObject([
      { ...failure, reason: 'unknown_state' },
      { ...failure, reason: 'access_denied' },
      { ...failure, reason: 'invalid_request' },
    ])
  })

  it('a login that can be tried again as not decided', async () => {
    const ledger = faultyLedger(createMemoryLedger(systemClock))
    await start({}, { ledger: ledger.ledger })
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    ledger.cut = true
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(503)
    expect(audit.events).toMatchObject([{ event: 'login', outcome: 'pending', reason: 'store_unavailable' }])
  })

  it('a refresh, with what it issued', async () => {
    await start()
    const browser = await scripted.loggedIn()
    await browser.post('refresh')
    expect(recorded('refresh')).toMatchObject([
      { outcome: 'success', subject, details: { generation: 1 }, address: '127.0.0.1' },
    ])
  })

  it('a refresh that is refused, and why', async () => {
    await start()
    await scripted.agent.browser().post('refresh')
    const browser = await scripted.loggedIn()
    scripted.server.script.token = () => json(400, { error: 'invalid_grant' })
    expect((await browser.post('refresh')).status).toBe(401)
    expect(recorded('refresh')).toMatchObject([
      { outcome: 'refused', reason: 'no_session' },
      { outcome: 'refused', reason: 'refused', subject },
    ])
  })

  it('replaced cookies that are shown again', async () => {
    await start({ onSuperseded: 'end_session' })
    const browser = await scripted.loggedIn()
    const thief = scripted.agent.browser()
    thief.jar.restore(browser.jar.snapshot())
    await browser.post('refresh')
    scripted.clock.advanceSeconds(61)
    await browser.get('session')
    expect((await thief.post('refresh')).json).toEqual({ error_code: 'session_superseded' })
    const whose = { subject, address: '127.0.0.1' }
    expect(recorded('session_superseded')).toMatchObject([{ outcome: 'refused', ...whose, details: { generation: 0 } }])
    expect(recorded('session_ended')).toMatchObject([{ reason: 'superseded', ...whose }])
    expect(recorded('refresh')).toHaveLength(1)
  })

  it('a session that a new login replaces', async () => {
    await start()
    const browser = await scripted.loggedIn()
    await scripted.logIn(browser)
    await until('the end', () => recorded('session_ended').length === 1)
    expect(recorded('session_ended')).toMatchObject([{ reason: 'replaced', subject }])
  })

  it('a logout', async () => {
    await start()
    const browser = await scripted.loggedIn()
    await browser.post('logout')
    expect(recorded('logout', 'session_ended')).toMatchObject([
      { event: 'logout', outcome: 'success', subject, address: '127.0.0.1' },
    ])
  })

  it('a logout once, however often it is asked for', async () => {
    await start()
    const browser = await scripted.loggedIn()
    const tabs = [1, 2, 3].map(() => scripted.agent.browser())
    for (const tab of tabs) tab.jar.restore(browser.jar.snapshot())
    await Promise.all(tabs.map((tab) => tab.post('logout')))
    await browser.post('logout')
    expect(recorded('logout', 'session_ended')).toMatchObject([{ event: 'logout', reason: 'logout', subject }])
  })

  it.each(['session', 'refresh'] as const)(
    'a session that was idle for too long, once, if %s finds it',
    async (call) => {
      await start()
      const browser = await scripted.loggedIn()
      const others = [1, 2, 3].map(() => scripted.agent.browser())
      for (const other of others) other.jar.restore(browser.jar.snapshot())
      scripted.clock.advanceSeconds(3600)
      for (const other of others) await (call === 'session' ? other.get('session') : other.post('refresh'))
      await browser.post('logout')
      expect(recorded('logout', 'session_ended')).toMatchObject([{ event: 'session_ended', reason: 'idle', subject }])
    },
  )

  it('a session that the authorization server goes on with no more, once', async () => {
    await start()
    const browser = await scripted.loggedIn()
    const other = scripted.agent.browser()
    other.jar.restore(browser.jar.snapshot())
    scripted.server.script.token = () => json(400, { error: 'invalid_grant' })
    await browser.post('refresh')
    await other.post('refresh')
    expect(recorded('logout', 'session_ended')).toMatchObject([{ event: 'session_ended', reason: 'refused', subject }])
  })

  it('whose call it was, however many are served at the same time', async () => {
    await start({ trustedProxies: ['127.0.0.1'] })
    const addresses = Array.from({ length: 20 }, (_, index) => `203.0.113.${index + 1}`)
    const answers = await Promise.all(
      addresses.map((address) =>
        scripted.agent.browser().post('login/end', { state: 'forged', code: 'x' }, { 'x-forwarded-for': address }),
      ),
    )
    const ids = answers.map(({ headers }) => headers.get('x-request-id'))
    const found = new Map(recorded('login').map(({ correlationId, address }) => [correlationId, address]))
    expect(ids.map((id) => found.get(String(id)))).toEqual(addresses)
  })

  it('nothing while it blocks: calls are refused, but a logout is not', async () => {
    await start({}, { audit: keptAudit({ isBlocking: true }) })
    const browser = scripted.agent.browser()
    const answer = await browser.post('login/start')
    expect(answer.status).toBe(503)
    expect(answer.json).toEqual({ error_code: 'audit_unavailable' })
    expect(answer.headers.get('retry-after')).toBe('2')
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://localhost:3000')
    expect((await browser.get('session')).status).toBe(503)
    expect((await browser.post('logout')).status).toBe(200)
    expect(scripted.server.calls).toEqual([])
  })

  it('an address that asks too often', async () => {
    await start({ rateLimit: { requests: 1, windowSeconds: 60 } })
    const browser = scripted.agent.browser()
    await browser.post('refresh')
    await browser.post('refresh')
    const limited = audit.events.filter(({ event }) => event === 'rate_limited')
    expect(limited).toMatchObject([{ outcome: 'refused', reason: 'too_many_requests', address: '127.0.0.1' }])
  })
})
