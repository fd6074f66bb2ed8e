import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { generateKeyPair } from 'jose'
import { startAuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { json, type IdTokenChanges } from '../support/scripted-authorization-server.ts'
import { signIn } from '../support/sign-in.ts'
import { apiAudience, redirectUri, startAgent, type AgentAnswer, type Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
let browser: Browser
beforeEach(async () => {
  scripted = await startScripted({ authorizationServer: { responseMode: 'jwt' } })
  browser = scripted.agent.browser()
})
afterEach(() => scripted.close())

const logInWith = async (changes: IdTokenChanges): Promise<AgentAnswer> => {
  const signed = await scripted.server.signResponse(await scripted.callback(browser), changes)
  return browser.post('login/end', signed.searchParams)
}

const { privateKey: foreignKey } = await generateKeyPair('ES256')

describe('a signed authorization response', () => {
  it('[C-96] is asked for, and logs in', async () => {
    const started = await browser.post('login/start')
    const authorizationUrl = new URL(String(started.json['authorization_url']))
    expect(authorizationUrl.searchParams.get('response_mode')).toBe('jwt')
    const response = await scripted.server.signResponse(scripted.server.authorize(authorizationUrl))
    const answer = await browser.post('login/end', response.searchParams)
    expect([answer.status, answer.json['is_logged_in']]).toEqual([200, true])
  })

  it('works with a real authorization server', async () => {
    const server = await startAuthorizationServer({ clients: { redirectUris: [redirectUri] }, apiAudience })
    const { clientId, clientSecret } = server.clients.secret
    const agent = await startAgent({
      issuer: server.issuer,
      clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret },
      authorizationServer: { responseMode: 'jwt' },
    })
    const user = agent.browser()
    const started = await user.post('login/start')
    const callback = await signIn({ authorizationUrl: String(started.json['authorization_url']), redirectUri })
    expect([...callback.searchParams.keys()]).toEqual(['response'])
    const answer = await user.post('login/end', callback.searchParams)
    expect([answer.status, answer.json['is_logged_in']]).toEqual([200, true])
    await agent.close()
    await server.close()
  })

  it('may be an error', async () => {
    const answer = await logInWith({ claims: { code: undefined, error: 'access_denied' } })
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'access_denied'])
  })

  it.each([
    ['without iss', { claims: { iss: undefined } }],
    ['of another issuer', { claims: { iss: 'https://evil.test' } }],
    ['without aud', { claims: { aud: undefined } }],
    ['for nobody', { claims: { aud: [] } }],
    ['for another client', { claims: { aud: 'another' } }],
    ['for another client besides', { claims: { aud: ['scripted-client', 'another'] } }],
    ['without exp', { claims: { exp: undefined } }],
    ['that is expired', { claims: { exp: 1 } }],
    ['that never expires', { claims: { exp: 1e12 } }],
    ['from the future', { claims: { nbf: 9e10 } }],
    ['that is another kind of token', { header: { typ: 'logout+jwt' } }],
    ['with an unknown key id', { header: { kid: 'unknown' } }],
    ['signed by somebody else', { key: foreignKey }],
    ['that is an error of somebody else', { claims: { iss: 'https://evil.test', error: 'access_denied' } }],
    [
      'signed with a shared secret',
      { header: { alg: 'HS256' }, key: Buffer.from('a secret of thirty-two characters') },
    ],
  ] satisfies readonly (readonly [string, IdTokenChanges])[])(
    '[C-96][C-119] is refused %s, before the code is sent',
    async (_what, changes) => {
      const answer = await logInWith(changes)
      expect([answer.status, answer.json]).toEqual([400, { error_code: 'invalid_request' }])
      expect(scripted.server.count('token')).toBe(0)
      expect(scripted.agent.events()).toContain('response_refused')
    },
  )

  it.each([
    { error: { error: 'access_denied' } },
    { error: ['access_denied'] },
    { error: false },
    { state: 1 },
    { iss: {} },
  ])('[C-96] is refused with a member that is no text: %j', async (claims) => {
    const answer = await logInWith({ claims })
    expect([answer.status, answer.json]).toEqual([400, { error_code: 'invalid_request' }])
    expect(scripted.server.count('token')).toBe(0)
  })

  it('[C-96] is refused without a signature, or with one of another response', async () => {
    const [first, second] = await Promise.all(
      [scripted.callback(browser), scripted.callback(browser)].map(async (callback) =>
        String((await scripted.server.signResponse(await callback)).searchParams.get('response')).split('.'),
      ),
    )
    const none = Buffer.from('{"alg":"none"}').toString('base64url')
    for (const jwt of [
      `${none}.${first?.[1]}.`,
      `${first?.[0]}.${first?.[1]}.`,
      `${first?.[0]}.${second?.[1]}.${first?.[2]}`,
    ]) {
      const answer = await browser.post('login/end', { response: jwt })
      expect([answer.status, answer.json]).toEqual([
        400,
        expect.objectContaining({ error_code: expect.stringMatching(/^(?:invalid_request|unknown_state)$/) }),
      ])
    }
    expect(scripted.server.count('token')).toBe(0)
  })

  it.each([[''], ['x'], ['a.b.c'], ['e30.e30.e30'], ['e30.W10.x'], ['e30.bnVsbA.x'], ['x'.repeat(17_000)]])(
    'is refused when it is no such thing (case %#)',
    async (response) => {
      await scripted.callback(browser)
      const answer = await browser.post('login/end', { response })
      expect([answer.status, answer.json['error_code']]).toEqual([400, 'invalid_request'])
    },
  )

  it('[C-96] leaves no way around it: parameters in clear are not looked at, alone or beside it', async () => {
    const callback = await scripted.callback(browser)
    const plain = await browser.post('login/end', callback.searchParams)
    expect([plain.status, plain.json['error_code']]).toEqual([400, 'invalid_request'])
    const signed = await scripted.server.signResponse(callback)
    signed.searchParams.set('error', 'access_denied')
    signed.searchParams.set('code', 'another')
    expect((await browser.post('login/end', signed.searchParams)).status).toBe(200)
  })

  it('asks for no keys before the state is one of this browser', async () => {
    const jwt = await scripted.server.signResponse(await scripted.callback(scripted.agent.browser()), {
      header: { kid: 'made-up' },
    })
    const answer = await browser.post('login/end', jwt.searchParams)
    expect([answer.status, answer.json['error_code']]).toEqual([400, 'unknown_state'])
    expect(scripted.server.count('jwks')).toBe(0)
  })

  it('can be tried again when the keys cannot be had', async () => {
    const signed = await scripted.server.signResponse(await scripted.callback(browser))
    scripted.server.script = { jwks: () => json(503, {}) }
    const answer = await browser.post('login/end', signed.searchParams)
    scripted.server.script = {}
    expect([answer.status, answer.json['error_code'], answer.headers.get('retry-after')]).toEqual([
      502,
      'authorization_server_error',
      '5',
    ])
    expect((await browser.post('login/end', signed.searchParams)).status).toBe(200)
  })
})
