import { afterEach, describe, expect, it } from '@jest/globals'
import type { AccessCookieClaims } from '@token-handler/shared'
import type { Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

const roles = [
  { name: 'editor', claim: 'realm_access.roles', values: ['editor', 'admin'] },
  { name: 'editor', claim: 'https://example.com/staff', values: [true] },
  { name: 'reader', claim: 'realm_access.roles', values: ['reader'] },
  { name: 'nobody-asks', claim: 'realm_access.roles', values: ['editor'] },
]

describe('roles that routes ask for', () => {
  let scripted: Scripted
  afterEach(() => scripted.close())

  async function start(claims: object): Promise<Browser> {
    scripted = await startScripted({ options: { roles, routeRoles: ['editor', 'reader'] } })
    scripted.server.idToken = { claims: { ...claims } }
    return scripted.loggedIn()
  }

  function sealed({ jar }: Browser): readonly string[] | undefined {
    const [name = ''] = jar.names().filter((one) => one.includes('-at-'))
    const opened = scripted.agent.sealer.open<AccessCookieClaims>('access-token', jar.get(name)[0]?.value ?? '')
    if (!opened.ok) throw new Error(`the access cookie does not open: ${opened.reason}`)
    return opened.claims.roles
  }

  it('are sealed into the access cookie by name, each once, and never shown to the SPA', async () => {
    const claims = { realm_access: { roles: ['admin', 'editor', 'reader'] }, 'https://example.com/staff': true }
    const browser = await start(claims)
    expect(sealed(browser)).toEqual(['editor', 'reader'])
    expect((await browser.get('session')).text).not.toMatch(/editor|reader|staff/)
  })

  it.each([
    ['a value of another type', { 'https://example.com/staff': 'true' }],
    ['another case', { realm_access: { roles: ['Editor'] } }],
    ['text in place of a list, which has the value in it', { realm_access: { roles: 'editor admin' } }],
    ['none', {}],
  ])('are not given for %s', async (_what, claims) => {
    expect(sealed(await start(claims))).toBeUndefined()
  })

  it('stay over a refresh that brings no ID token, and follow the ID token of one that does', async () => {
    const browser = await start({ realm_access: { roles: ['editor'] } })
    scripted.server.tokenAnswer = { id_token: undefined }
    expect((await browser.post('refresh')).status).toBe(200)
    expect(sealed(browser)).toEqual(['editor'])
    scripted.server.tokenAnswer = {}
    scripted.server.idToken = { claims: { realm_access: { roles: ['reader'] }, nonce: undefined } }
    expect((await browser.post('refresh')).status).toBe(200)
    expect(sealed(browser)).toEqual(['reader'])
    scripted.server.idToken = { claims: { nonce: undefined } }
    expect((await browser.post('refresh')).status).toBe(200)
    expect(sealed(browser)).toBeUndefined()
  })
})
