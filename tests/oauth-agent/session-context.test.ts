import { afterEach, describe, expect, it } from '@jest/globals'
import type { ContextPolicy } from '@token-handler/shared'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { parseMetrics } from '../support/metrics.ts'
import { until } from '../support/until.ts'
import { generateCapabilitySigning, jwtCapability } from './capability-options.ts'
import type { AgentAnswer, Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0'
const home = { 'x-forwarded-for': '203.0.113.7', 'user-agent': firefox }
const nextDoor = { 'x-forwarded-for': '203.0.113.200', 'user-agent': firefox.replaceAll('149', '160') }
const elsewhere = { 'x-forwarded-for': '198.51.100.7', 'user-agent': firefox }
const otherBrowser = { 'x-forwarded-for': '203.0.113.7', 'user-agent': 'curl/8' }

let scripted: Scripted
let audit: KeptAudit
afterEach(() => scripted.close())

/** The test is a trusted proxy in front of the agent. */
async function start(network: ContextPolicy, client: ContextPolicy): Promise<void> {
  audit = keptAudit()
  scripted = await startScripted({
    audit,
    options: {
      trustedProxies: ['127.0.0.1'],
      capabilities: [jwtCapability],
      capabilitySigning: generateCapabilitySigning(),
      context: { network, client, prefixLengths: { ipv4: 24, ipv6: 56 } },
    },
  })
}
async function logIn(headers: Record<string, string>, browser = scripted.agent.browser()): Promise<Browser> {
  const callback = await scripted.callback(browser)
  expect((await browser.post('login/end', callback.searchParams, headers)).status).toBe(200)
  return browser
}
const refresh = (browser: Browser, headers: Record<string, string>): Promise<AgentAnswer> =>
  browser.post('refresh', undefined, headers)
const changes = () => audit.events.filter(({ event }) => event === 'context_changed')

describe('a session that is bound to where its login came from', () => {
  it.each([
    ['network', 'deny', 'off', elsewhere, '203.0.113.0/24', '198.51.100.0/24'],
    ['client', 'off', 'deny', otherBrowser, 'linux desktop firefox', 'other desktop other'],
  ] as const)('cannot be refreshed from elsewhere: %s', async (reason, network, client, place, expected, seen) => {
    await start(network, client)
    const browser = await logIn(home)
    expect((await refresh(browser, nextDoor)).status).toBe(200)
    const cookies = browser.jar.snapshot()
    for (let count = 0; count < 3; count++) {
      const refused = await refresh(browser, place)
      expect([refused.status, refused.json, refused.setCookies]).toEqual([401, { error_code: 'context_changed' }, []])
    }
    expect(browser.jar.snapshot()).toEqual(cookies)
    expect(scripted.server.count('token', 'refresh_token')).toBe(1)
    expect(changes()).toMatchObject([{ outcome: 'refused', reason, subject: 'subject-1', details: { expected, seen } }])
    expect(changes()[0]).toMatchObject({ address: place['x-forwarded-for'], sid: expect.any(String) })
    // Where it belongs it goes on.
    expect((await refresh(browser, home)).status).toBe(200)
  })

  it('is not shown elsewhere, and not cleared there', async () => {
    await start('deny', 'off')
    const browser = await logIn(home)
    const answer = await browser.get('session', elsewhere)
    expect([answer.text, answer.setCookies]).toEqual(['{"is_logged_in":false}', []])
    expect((await browser.get('session', home)).json['is_logged_in']).toBe(true)
  })

  it('is not shown elsewhere by a login end either, neither one that belongs to no login nor one that is repeated', async () => {
    await start('deny', 'off')
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    const thief = scripted.agent.browser()
    thief.jar.restore(browser.jar.snapshot())
    expect((await browser.post('login/end', searchParams, home)).status).toBe(200)
    const repeated = await thief.post('login/end', searchParams, elsewhere)
    thief.jar.restore(browser.jar.snapshot())
    const unknown = await thief.post('login/end', { state: 'x', code: 'y' }, elsewhere)
    for (const answer of [repeated, unknown]) {
      expect([answer.status, answer.json]).toEqual([400, { error_code: 'unknown_state' }])
    }
    expect(changes()).toMatchObject([{ outcome: 'refused', reason: 'network', address: elsewhere['x-forwarded-for'] }])
    // Where it belongs, both find it.
    expect((await browser.post('login/end', { state: 'x', code: 'y' }, home)).json['is_logged_in']).toBe(true)
  })

  it('is given no capability elsewhere', async () => {
    await start('off', 'deny')
    const browser = await logIn(home)
    const ask = (headers: Record<string, string>): Promise<AgentAnswer> =>
      browser.post('capabilities/realtime', {}, headers)
    expect(await ask(otherBrowser)).toMatchObject({ status: 401, json: { error_code: 'context_changed' } })
    expect((await ask(home)).json).toMatchObject({ kind: 'jwt' })
    await browser.post('capabilities/hostile', {}, home)
    const series = parseMetrics(await scripted.agent.registry.metrics())
    const counted = [...series].filter(([name]) => name.startsWith('token_handler_capabilities_total'))
    expect(counted).toEqual([
      ['token_handler_capabilities_total{capability="realtime",outcome="context_changed"}', 1],
      ['token_handler_capabilities_total{capability="realtime",outcome="issued"}', 1],
      ['token_handler_capabilities_total{capability="other",outcome="not_found"}', 1],
    ])
  })

  it('can be ended from everywhere', async () => {
    await start('deny', 'deny')
    const browser = await logIn(home)
    expect((await browser.post('logout', undefined, elsewhere)).status).toBe(200)
    await until('its refresh token is revoked', () => !scripted.server.hasLiveGrant)
  })

  it('is replaced by a login from where the user is now', async () => {
    await start('deny', 'deny')
    const browser = await logIn(home)
    expect((await refresh(browser, elsewhere)).status).toBe(401)
    await logIn(elsewhere, browser)
    expect((await refresh(browser, elsewhere)).status).toBe(200)
    expect((await refresh(browser, home)).status).toBe(401)
  })

  it('that is only reported goes on, and is recorded once a place', async () => {
    await start('report', 'report')
    const browser = await logIn(home)
    for (const place of [home, elsewhere, elsewhere, nextDoor, otherBrowser, elsewhere]) {
      expect((await refresh(browser, place)).status).toBe(200)
      expect((await browser.get('session', place)).json['is_logged_in']).toBe(true)
    }
    expect(changes().map(({ reason, outcome }) => [reason, outcome])).toEqual([
      ['network', 'success'],
      ['client', 'success'],
    ])
    expect(scripted.agent.events().filter((event) => event === 'context_changed')).toHaveLength(2)
  })

  it('is bound by nothing that a peer writes who is no trusted proxy', async () => {
    await start('deny', 'off')
    await scripted.close()
    audit = keptAudit()
    scripted = await startScripted({
      audit,
      options: { context: { network: 'deny', client: 'off', prefixLengths: { ipv4: 24, ipv6: 56 } } },
    })
    const browser = await logIn(home)
    expect((await refresh(browser, elsewhere)).status).toBe(200)
  })

  it('is none whose login was before the binding', async () => {
    await start('off', 'off')
    const browser = await logIn(home)
    const { server, keys, clock, agent } = scripted
    const again = await startScripted({
      clock,
      keys,
      ledger: agent.ledger,
      issuer: server.issuer,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      options: {
        trustedProxies: ['127.0.0.1'],
        context: { network: 'deny', client: 'deny', prefixLengths: { ipv4: 24, ipv6: 56 } },
      },
    })
    try {
      const later = again.agent.browser(browser.jar)
      expect((await refresh(later, elsewhere)).status).toBe(200)
      expect((await refresh(later, otherBrowser)).status).toBe(200)
    } finally {
      await again.close()
    }
  })
})
