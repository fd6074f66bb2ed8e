import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { trustedOrigin, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

/** The calls as Curity's JavaScript assistant makes them, so that it works with this agent unmodified. */
let scripted: Scripted
let browser: Browser
let answers: AgentAnswer[]

beforeAll(async () => {
  scripted = await startScripted()
  browser = scripted.agent.browser()
  answers = []
  const callback = await scripted.callback(browser)
  answers.push(await browser.post('login/end', callback.searchParams))
  answers.push(await browser.get('session'), await browser.post('refresh'), await browser.post('logout'))
})
afterAll(() => scripted.close())

describe("the JavaScript assistant's rules", () => {
  it('1: every success has a JSON body', () => {
    for (const { status, text } of answers) expect([status, typeof JSON.parse(text)]).toEqual([200, 'object'])
  })

  it('2: the content type of errors is application/json and nothing else', async () => {
    for (const answer of [
      await browser.post('refresh'),
      await browser.get('nowhere'),
      await browser.post('login/end'),
    ]) {
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(answer.headers.get('content-type')).toBe('application/json')
    }
  })

  it('3: errors have an error_code', async () => {
    expect((await browser.post('refresh')).json).toEqual({ error_code: 'session_expired' })
  })

  it('4: forms may be empty and say charset=UTF-8, and logout may say nothing', async () => {
    const type = { 'content-type': 'application/x-www-form-urlencoded;charset=UTF-8' }
    expect((await browser.post('login/start', '', type)).status).toBe(200)
    expect((await browser.post('login/start', 'prompt=login', type)).status).toBe(200)
    expect((await browser.post('logout')).status).toBe(200)
  })

  it('5: another origin may call, with the header and with cookies, and may read errors', async () => {
    const preflight = await browser.send('OPTIONS', 'session', undefined, {
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'token-handler-version',
      'token-handler-version': '',
    })
    const error = await browser.post('refresh')
    for (const { headers } of [preflight, error]) {
      expect(headers.get('access-control-allow-origin')).toBe(trustedOrigin)
      expect(headers.get('access-control-allow-credentials')).toBe('true')
    }
    expect(preflight.headers.get('access-control-allow-headers')).toContain('token-handler-version')
  })

  it('6: access_token_expires_in counts down', async () => {
    const other = await scripted.loggedIn()
    scripted.clock.advanceSeconds(100)
    expect((await other.get('session')).json['access_token_expires_in']).toBe(200)
    scripted.clock.advanceSeconds(300)
    expect((await other.get('session')).json).toMatchObject({ is_logged_in: true, access_token_expires_in: 0 })
  })

  it('7 and 8: who is not logged in gets a 200 that says so, without claims', async () => {
    const answer = await scripted.agent.browser().get('session')
    expect([answer.status, answer.json]).toEqual([200, { is_logged_in: false }])
  })
})
