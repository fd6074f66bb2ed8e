import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, measureLedger, Registry } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { parseMetrics, type Series } from '../support/metrics.ts'
import { json } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { faultyLedger, type FaultyLedger } from './faulty-ledger.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
let ledger: FaultyLedger
let ledgerMetrics: Registry
beforeEach(async () => {
  const clock = fakeClock()
  ledger = faultyLedger(createMemoryLedger(clock))
  ledgerMetrics = new Registry()
  scripted = await startScripted({ clock, ledger: measureLedger(ledger.ledger, ledgerMetrics, clock) })
})
afterEach(() => scripted.close())

const series = async (registry = scripted.agent.registry): Promise<Series> => parseMetrics(await registry.metrics())
/** Names of a metric's series above zero, shortened to the values of their labels. */
async function counted(metric: string, registry?: Registry): Promise<Record<string, number>> {
  const found = [...(await series(registry))].filter(([name, value]) => name.startsWith(`${metric}{`) && value > 0)
  return Object.fromEntries(
    found.map(([name, value]) => [[...name.matchAll(/="([^"]*)"/g)].map(([, label]) => label).join(' '), value]),
  )
}
const steps = (): Promise<Record<string, number>> => counted('token_handler_refresh_steps_total')

describe('metrics of the OAuth Agent', () => {
  it('count requests by route and outcome', async () => {
    const browser = await scripted.loggedIn()
    await browser.get('session')
    await browser.post('refresh')
    await browser.post('login/end', { state: 'x', code: 'x' })
    await browser.post('login/end', { state: 'unknown', error: 'access_denied' })
    await browser.post('refresh', undefined, { origin: 'https://evil.example' })
    await browser.get('elsewhere')
    await browser.post('logout')
    expect(await counted('token_handler_agent_requests_total')).toEqual({
      '/oauth-agent/login/start ok': 1,
      '/oauth-agent/login/end ok': 2,
      '/oauth-agent/login/end unknown_state': 1,
      '/oauth-agent/session ok': 1,
      '/oauth-agent/refresh ok': 1,
      '/oauth-agent/refresh untrusted_origin': 1,
      'other not_found': 1,
      '/oauth-agent/logout ok': 1,
    })
    // So that a rate sees the first error that should not be.
    const errors = [...(await series())].filter(([name]) => name.endsWith('outcome="server_error"}'))
    expect(new Set(errors.map(([, value]) => value))).toEqual(new Set([0]))
    for (const route of ['other', '/oauth-agent/refresh', '/oauth-agent/backchannel-logout']) {
      expect(errors.map(([name]) => name)).toContainEqual(expect.stringContaining(`route="${route}"`))
    }
  })

  it('[D-OPS-04] have no more series after hostile paths and methods', async () => {
    const browser = scripted.agent.browser()
    const hostile = async (text: string): Promise<void> => {
      await browser.get(text)
      await browser.send(text, 'session')
      await browser.post(`refresh/${text}`)
      await browser.post('login/end', { state: text, error: text })
    }
    await hostile('A0')
    const before = [...(await series()).keys()]
    for (let count = 1; count <= 50; count++) await hostile(`A${count}`)
    expect([...(await series()).keys()]).toEqual(before)
  })

  it('count the steps of a refresh, from zero on', async () => {
    expect([...(await series()).keys()].filter((name) => name.startsWith('token_handler_refresh'))).toHaveLength(13)
    const browser = await scripted.loggedIn()
    const before = browser.jar.snapshot()
    await Promise.all([browser.post('refresh'), browser.post('refresh')])
    expect(await steps()).toEqual({ sent: 1, shared: 1, committed: 1 })
    browser.jar.restore(before)
    await browser.post('refresh')
    expect(await steps()).toEqual({ sent: 1, shared: 1, committed: 1, replayed: 1 })
  })

  it('count superseded cookies, refused and foreign tokens, and calls that were not processed', async () => {
    const copied = await scripted.loggedIn()
    const before = copied.jar.snapshot()
    await copied.post('refresh')
    scripted.clock.advanceSeconds(100)
    await copied.post('refresh')
    scripted.clock.advanceSeconds(100)
    await copied.post('refresh')
    copied.jar.restore(before)
    expect((await copied.post('refresh')).json['error_code']).toBe('session_superseded')
    const refused = await scripted.loggedIn()
    scripted.server.script.token = () => json(503, { error: 'temporarily_unavailable' })
    await refused.post('refresh')
    scripted.server.script.token = () => json(400, { error: 'invalid_grant' })
    await refused.post('refresh')
    delete scripted.server.script.token
    const foreign = await scripted.loggedIn()
    scripted.server.idToken = { claims: { sub: 'somebody else' } }
    await foreign.post('refresh')
    expect(await steps()).toMatchObject({ superseded: 1, not_processed: 1, refused: 1, subject_changed: 1 })
  })

  it('count refreshes in doubt, and what they are waited for', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.script.token = () => {
      delete scripted.server.script.token
      return json(500, 'lost')
    }
    const answer = browser.post('refresh')
    await until('it is in doubt', async () => (await steps())['in_doubt'] === 1)
    scripted.clock.advanceSeconds(6)
    expect((await answer).status).toBe(200)
    expect(await steps()).toEqual({ sent: 1, in_doubt: 1, waited: 1, sent_in_doubt: 1, committed: 1 })
  })

  it('tell how long the ledger takes, and that it is away', async () => {
    const browser = await scripted.loggedIn()
    expect((await series(ledgerMetrics)).get('token_handler_ledger_operation_seconds_count{operation="begin"}')).toBe(1)
    expect(await counted('token_handler_ledger_unanswered_total', ledgerMetrics)).toEqual({})
    ledger.cut = true
    await browser.post('refresh')
    ledger.cut = false
    expect(await counted('token_handler_ledger_unanswered_total', ledgerMetrics)).toEqual({ 'show unknown': 1 })
    expect(await steps()).toEqual({ store_unavailable: 1 })
  })
})

describe('metrics of calls to the authorization server', () => {
  it('count them by outcome and time them', async () => {
    const [browser, other] = [await scripted.loggedIn(), await scripted.loggedIn()]
    scripted.server.script.token = () => json(400, { error: 'invalid_grant' })
    await browser.post('refresh')
    await scripted.server.close()
    await other.post('refresh')
    expect(await counted('token_handler_authorization_server_calls_total')).toEqual({
      'discovery 2xx': 1,
      'code 2xx': 2,
      'keys 2xx': 1,
      'refresh 4xx': 1,
      'refresh unsent': 1,
    })
    const name = 'token_handler_authorization_server_call_seconds_count{call="code"}'
    expect((await series()).get(name)).toBe(2)
  })

  it('tell how far the clocks are apart, by what no cache can have kept', async () => {
    const name = 'token_handler_authorization_server_clock_skew_seconds'
    expect((await series()).has(name)).toBe(false)
    await scripted.loggedIn()
    // The scripted server's answers carry the real date; the agent's clock is staged.
    const skew = (await series()).get(name) ?? 0
    expect(Math.abs(skew - (scripted.clock.now() - Date.now()) / 1000)).toBeLessThan(60)
  })
})
