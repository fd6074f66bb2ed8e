import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { Canaries, findJwts } from '../support/canary.ts'
import { signIn } from '../support/sign-in.ts'
import { apiAudience, postLogoutRedirectUri, redirectUri, startAgent, type RunningAgent } from './running-agent.ts'

let authorizationServer: AuthorizationServer
let running: RunningAgent
let withPrivateKey: RunningAgent

beforeAll(async () => {
  authorizationServer = await startAuthorizationServer({
    clients: { redirectUris: [redirectUri], postLogoutRedirectUris: [postLogoutRedirectUri] },
    apiAudience,
  })
  const { issuer, clients } = authorizationServer
  running = await startAgent({
    issuer,
    clientId: clients.secret.clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret: clients.secret.clientSecret },
  })
  withPrivateKey = await startAgent({
    issuer,
    clientId: clients.privateKey.clientId,
    clientAuthentication: {
      method: 'private_key_jwt',
      privateKey: JSON.stringify(clients.privateKey.privateKeyJwk),
      algorithm: 'ES256',
    },
  })
})

afterAll(async () => {
  await running.close()
  await withPrivateKey.close()
  await authorizationServer.close()
})

describe('the whole path against a real authorization server', () => {
  it.each([
    ['client_secret_basic', () => running],
    ['private_key_jwt', () => withPrivateKey],
  ])('[C-20] logs in, answers who is there, refreshes and logs out with %s', async (_method, agentOf) => {
    const agent = agentOf()
    const browser = agent.browser()
    const started = await browser.post('login/start')
    expect(started.status).toBe(200)
    expect(started.headers.get('content-type')).toBe('application/json')
    const authorizationUrl = new URL(String(started.json['authorization_url']))
    const callback = await signIn({ authorizationUrl, redirectUri })

    const ended = await browser.post('login/end', callback.searchParams)
    expect([ended.status, ended.text]).toEqual([200, expect.stringContaining('"is_logged_in":true')])
    expect(browser.jar.refused).toEqual([])

    const session = await browser.get('session')
    expect(session.json).toMatchObject({
      is_logged_in: true,
      id_token_claims: { name: 'Demo User', preferred_username: 'demo' },
      access_token_lifetime: 300,
    })
    expect(session.setCookies).toEqual([])

    const refreshed = await browser.post('refresh')
    expect(refreshed.status).toBe(200)
    expect(refreshed.json['access_token_expires_in']).toBe(300)
    expect(refreshed.setCookies.length).toBeGreaterThan(1)

    const loggedOut = await browser.post('logout')
    expect(loggedOut.status).toBe(200)
    const logoutUrl = new URL(String(loggedOut.json['logout_url']))
    expect(logoutUrl.searchParams.get('post_logout_redirect_uri')).toBe(postLogoutRedirectUri)
    expect(browser.jar.names()).toEqual([])
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')

    const canaries = new Canaries()
    for (const { accessToken, refreshToken, idToken } of authorizationServer.issued) {
      canaries.watch('access token', accessToken)
      if (refreshToken !== undefined) canaries.watch('refresh token', refreshToken)
      if (idToken !== undefined) canaries.watch('ID token', idToken)
    }
    canaries.watch('client secret', authorizationServer.clients.secret.clientSecret)
    const answers = [started, ended, session, refreshed, loggedOut].map(({ text, headers }) => [text, headers])
    expect(canaries.find(answers, agent.log())).toEqual([])
    expect(findJwts(answers, agent.log())).toEqual([])
  })
})
