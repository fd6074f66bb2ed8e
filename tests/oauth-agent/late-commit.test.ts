import { afterEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { faultyLedger } from './faulty-ledger.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
afterEach(() => scripted.close())

describe('a success that could not be committed', () => {
  it('is tried again so often that it is there before others resolve the doubt', async () => {
    const clock = fakeClock()
    const inner = createMemoryLedger(clock)
    const ledger = faultyLedger(inner)
    scripted = await startScripted({ clock, ledger: ledger.ledger })
    const attempts: number[] = []
    ledger.replaced.commit = async (commit) => {
      attempts.push(performance.now())
      return attempts.length < 6 ? { state: 'unknown' } : inner.commit(commit)
    }
    const browser = await scripted.loggedIn()
    const old = browser.jar.snapshot()
    await browser.post('refresh')
    await until('the commit arrives', () => attempts.length === 6)
    // The ledger keeps a doubt for five seconds after an interruption.
    const pauses = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0))
    expect(Math.max(...pauses)).toBeLessThan(2500)
    browser.jar.restore(old)
    await until('the successor', async () => (await browser.post('refresh')).setCookies.length > 0)
    expect(scripted.server.count('token', 'refresh_token')).toBe(1)
  })
})

describe('a logout that could not be written', () => {
  it('is tried again so often that other replicas do not take copies of the cookies for long', async () => {
    const clock = fakeClock()
    const inner = createMemoryLedger(clock)
    const ledger = faultyLedger(inner)
    scripted = await startScripted({ clock, ledger: ledger.ledger })
    const attempts: number[] = []
    ledger.replaced.end = async (session) => {
      attempts.push(performance.now())
      return attempts.length < 8 ? { state: 'unknown' } : inner.end(session)
    }
    const browser = await scripted.loggedIn()
    const copy = browser.jar.snapshot()
    expect((await browser.post('logout')).status).toBe(200)
    await until('it is written', () => attempts.length === 8)
    // Six pauses of half a second; growing to two seconds, they would be nearly ten.
    expect((attempts.at(-1) ?? Infinity) - (attempts[0] ?? 0)).toBeLessThan(7000)
    browser.jar.restore(copy)
    expect((await browser.get('session')).json).toEqual({ is_logged_in: false })
  }, 20_000)
})
