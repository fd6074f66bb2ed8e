import { afterEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { faultyLedger } from './faulty-ledger.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
afterEach(() => scripted.close())

describe('a logout', () => {
  it('[B-LO-03] revokes the refresh token of a refresh that is committed just before the session ends', async () => {
    const clock = fakeClock()
    const inner = createMemoryLedger(clock)
    const ledger = faultyLedger(inner)
    scripted = await startScripted({ clock, ledger: ledger.ledger })
    const browser = await scripted.loggedIn()
    const otherTab = scripted.agent.browser()
    otherTab.jar.restore(browser.jar.snapshot())
    ledger.replaced.end = async (session) => {
      ledger.replaced = {}
      expect((await otherTab.post('refresh')).status).toBe(200)
      return inner.end(session)
    }
    expect((await browser.post('logout')).status).toBe(200)
    await until('a token is revoked', () => scripted.server.count('revocation') === 1)
    const newest = scripted.server.issued.filter((value) => value.startsWith('canary-refresh')).at(-1)
    expect(scripted.server.calls.at(-1)?.form.get('token')).toBe(newest)
  })

  it('revokes what its cookie holds while the store is away, and the newest refresh token once it is back', async () => {
    const clock = fakeClock()
    const ledger = faultyLedger(createMemoryLedger(clock))
    scripted = await startScripted({ clock, ledger: ledger.ledger })
    const browser = await scripted.loggedIn()
    const otherTab = scripted.agent.browser()
    otherTab.jar.restore(browser.jar.snapshot())
    expect((await otherTab.post('refresh')).status).toBe(200)
    const [older, newest] = scripted.server.issued.filter((value) => value.startsWith('canary-refresh')).slice(-2)
    ledger.cut = true
    expect((await browser.post('logout')).status).toBe(200)
    const revoked = (): unknown[] =>
      scripted.server.calls.filter(({ endpoint }) => endpoint === 'revocation').map(({ form }) => form.get('token'))
    await until('the older one is revoked', () => revoked().length === 1)
    ledger.cut = false
    await until('the newest one is revoked', () => revoked().length === 2)
    expect(revoked()).toEqual([older, newest])
  })
})
