import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { Canaries, findJwts } from '../support/canary.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn, signOut } from '../support/sign-in.ts'
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

  it.each([false, true])(
    '[C-60] logs out there too, and comes back with the state; ID token hint: %s',
    async (isHinted) => {
      const { issuer, clients } = authorizationServer
      const agent = await startAgent({
        issuer,
        clientId: clients.secret.clientId,
        clientAuthentication: { method: 'client_secret_basic', clientSecret: clients.secret.clientSecret },
        options: { logout: { idTokenHint: isHinted } },
      })
      const browser = agent.browser()
      const jar = new CookieJar()
      const logIn = async (prompt: string): Promise<URL> => {
        const { json } = await browser.post('login/start', { prompt })
        return signIn({ authorizationUrl: String(json['authorization_url']), redirectUri, jar })
      }
      expect((await browser.post('login/end', (await logIn('login')).searchParams)).status).toBe(200)
      let logoutUrl = new URL(String((await browser.post('logout')).json['logout_url']))
      if (isHinted) {
        const url = new URL('logout/continue', agent.url)
        // Not fetch, which says of itself that it is no navigation.
        const request = get(url, { headers: { cookie: browser.jar.header(url), 'sec-fetch-mode': 'navigate' } })
        const [continued] = (await once(request, 'response')) as [IncomingMessage]
        continued.resume()
        browser.jar.store(url, continued.headers['set-cookie'])
        logoutUrl = new URL(continued.headers.location ?? '')
      }
      expect(logoutUrl.searchParams.has('id_token_hint')).toBe(isHinted)
      const returned = await signOut({ logoutUrl, postLogoutRedirectUri, jar })
      expect(returned.searchParams.get('state')).toMatch(/^[\w-]{22}$/)
      expect(returned.searchParams.get('state')).toBe(logoutUrl.searchParams.get('state'))
      expect(browser.jar.names()).toEqual([])
      expect((await logIn('none')).searchParams.get('error')).toBe('login_required')
      await agent.close()
    },
  )
})
