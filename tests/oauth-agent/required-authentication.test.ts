import { afterEach, describe, expect, it } from '@jest/globals'
import { until } from '../support/until.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
afterEach(() => scripted.close())

const start = async (acr: readonly string[], amr: readonly string[] = []): Promise<void> => {
  scripted = await startScripted({ authorizationServer: { requiredAuthentication: { acr, amr } } })
}
async function logInWith(claims: Record<string, unknown>, fields?: Record<string, string>) {
  scripted.server.idToken = { claims }
  const browser = scripted.agent.browser()
  const { answer } = await scripted.logIn(browser, fields)
  return { browser, answer, outcome: answer.json['error_code'] ?? answer.status }
}

describe('the authentication that every login must have', () => {
  it('[B-ID-12] is one of the authentication contexts', async () => {
    await start(['mfa', 'hardware'])
    for (const [acr, outcome] of [
      ['mfa', 200],
      ['hardware', 200],
      ['pwd', 'authentication_too_weak'],
      ['MFA', 'authentication_too_weak'],
      ['mfa hardware', 'authentication_too_weak'],
      [['mfa'], 'authentication_too_weak'],
      [undefined, 'authentication_too_weak'],
    ] as const) {
      expect([acr, (await logInWith({ acr })).outcome]).toEqual([acr, outcome])
    }
  })

  it('is all of the authentication methods', async () => {
    await start([], ['pwd', 'otp'])
    for (const [amr, outcome] of [
      [['pwd', 'otp'], 200],
      [['otp', 'mfa', 'pwd'], 200],
      [['otp'], 'authentication_too_weak'],
      ['pwd otp', 'authentication_too_weak'],
      [['pwdotp', 7, null], 'authentication_too_weak'],
      [undefined, 'authentication_too_weak'],
    ] as const) {
      expect([amr, (await logInWith({ amr })).outcome]).toEqual([amr, outcome])
    }
  })

  it('[B-SU-02] holds besides what the login asked for, and the SPA cannot ask it away', async () => {
    await start(['mfa'])
    expect((await logInWith({ acr: 'pwd' }, { acr_values: 'pwd' })).outcome).toBe('authentication_too_weak')
    expect((await logInWith({ acr: 'mfa' }, { acr_values: 'hardware' })).outcome).toBe('authentication_too_weak')
    expect((await logInWith({ acr: 'mfa' }, { acr_values: 'hardware mfa' })).outcome).toBe(200)
  })

  it('is asked for, unless the SPA asks for something of its own', async () => {
    await start(['mfa', 'hardware'])
    const asked = async (fields?: Record<string, string>): Promise<string | null> => {
      const started = await scripted.agent.browser().post('login/start', fields)
      return new URL(String(started.json['authorization_url'])).searchParams.get('acr_values')
    }
    expect(await asked()).toBe('mfa hardware')
    expect(await asked({ acr_values: 'hardware' })).toBe('hardware')
  })

  it('that is missing leaves no session and no living token, and sets no cookie but the cleared login', async () => {
    await start(['mfa'])
    const { browser, answer } = await logInWith({ acr: 'pwd' })
    expect(answer.status).toBe(403)
    expect(answer.setCookies.map((line) => line.replace(/-[\w-]{16}=/, '='))).toEqual([
      expect.stringMatching(/^__Host-Http-th-login=; .*Max-Age=0/),
    ])
    expect(browser.jar.names()).toEqual([])
    expect((await browser.get('session')).json).toEqual({ is_logged_in: false })
    await until('the refresh token is revoked', () => !scripted.server.hasLiveGrant)
    expect(scripted.leaks(answer)).toEqual([])
  })

  it('that is missing in a step-up leaves the session before it as it was', async () => {
    await start(['mfa', 'hardware'])
    const { browser } = await logInWith({ acr: 'mfa' })
    scripted.server.idToken = { claims: { acr: 'mfa' } }
    const { answer } = await scripted.logIn(browser, { acr_values: 'hardware' })
    expect(answer.json['error_code']).toBe('authentication_too_weak')
    expect((await browser.get('session')).json).toMatchObject({ is_logged_in: true, id_token_claims: { acr: 'mfa' } })
    expect((await browser.post('refresh')).status).toBe(200)
  })
})

describe('the session answer', () => {
  it('[C-115] shows acr and auth_time of the login, which policies judge by, whatever a refresh brings', async () => {
    scripted = await startScripted()
    const authTime = Math.floor(scripted.clock.now() / 1000) - 10
    const { browser, answer } = await logInWith({ acr: 'mfa', auth_time: authTime })
    const shown = { id_token_claims: { acr: 'mfa', auth_time: authTime } }
    expect(answer.json).toMatchObject(shown)
    for (const claims of [
      { acr: undefined, auth_time: undefined },
      { acr: 'pwd', auth_time: authTime + 5 },
    ]) {
      scripted.server.idToken = { claims: { ...claims, name: `Name ${claims.acr}` } }
      expect((await browser.post('refresh')).status).toBe(200)
      expect((await browser.get('session')).json).toMatchObject(shown)
    }
  })
})
