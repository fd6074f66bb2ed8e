import { afterEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger } from '@token-handler/shared'
import { RuleSet, type StalePolicy } from '../../shared/src/ledger/rules.ts'
import { fakeClock } from '../support/clock.ts'
import { generateCapabilitySigning, jwtCapability } from './capability-options.ts'
import { faultyLedger } from './faulty-ledger.ts'
import type { Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
afterEach(() => scripted.close())

/** An agent whose ledger answers every question, but brings it no rules. */
async function withoutRules(stalePolicy: StalePolicy): Promise<{ browser: Browser; rules: { staleMs: number } }> {
  const clock = fakeClock()
  const rules = { staleMs: 0 }
  const ledger = faultyLedger(createMemoryLedger(clock))
  ledger.replaced = { rules: new RuleSet(clock, () => rules.staleMs, { stalePolicy }) }
  const options = { capabilities: [jwtCapability], capabilitySigning: generateCapabilitySigning() }
  scripted = await startScripted({ clock, ledger: ledger.ledger, options })
  const browser = await scripted.loggedIn()
  rules.staleMs = 60_001
  return { browser, rules }
}

/** What each call about a live session is answered, and how many cookies it changes. */
async function answers(browser: Browser): Promise<Record<string, unknown[]>> {
  const results: Record<string, unknown[]> = {}
  for (const [method, path] of [
    ['GET', 'session'],
    ['POST', 'refresh'],
    ['POST', 'capabilities/realtime'],
  ] as const) {
    const { status, json, setCookies } = await browser.send(method, path)
    results[path] = [status, ...(status === 200 ? [] : [json['error_code'], setCookies.length])]
  }
  return results
}

const unavailable = [503, 'store_unavailable', 0]

describe('an agent that may have missed the end of sessions, though the ledger answers', () => {
  it('takes no session for live, and refreshes none, until it knows the rules again', async () => {
    const { browser, rules } = await withoutRules('fail_closed')
    expect(await answers(browser)).toEqual({
      session: unavailable,
      refresh: unavailable,
      'capabilities/realtime': unavailable,
    })
    expect(scripted.server.count('token', 'refresh_token')).toBe(0)
    rules.staleMs = 0
    expect(await answers(browser)).toEqual({ session: [200], refresh: [200], 'capabilities/realtime': [200] })
  })

  it('with serve_until_token_expiry goes on until the access token expires, and refreshes nothing meanwhile', async () => {
    const { browser } = await withoutRules('serve_until_token_expiry')
    expect(await answers(browser)).toEqual({ session: [200], refresh: unavailable, 'capabilities/realtime': [200] })
    scripted.clock.advanceSeconds(300)
    expect(await answers(browser)).toEqual({
      session: unavailable,
      refresh: unavailable,
      'capabilities/realtime': unavailable,
    })
    expect(scripted.server.count('token', 'refresh_token')).toBe(0)
  })

  it('says so when a session is over for sure', async () => {
    const { browser } = await withoutRules('fail_closed')
    const copy = browser.jar.snapshot()
    await browser.post('logout')
    browser.jar.restore(copy)
    expect((await browser.get('session')).json).toEqual({ is_logged_in: false })
  })
})
