import { afterEach, describe, expect, it } from '@jest/globals'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'
import {
  apiAudience,
  postLogoutRedirectUri,
  redirectUri,
  startAgent,
  type Browser,
  type RunningAgent,
} from './running-agent.ts'

let authorizationServer: AuthorizationServer
let agent: RunningAgent

afterEach(async () => {
  await agent.close()
  await authorizationServer.close()
})

async function start(shareGrants: boolean): Promise<void> {
  authorizationServer = await startAuthorizationServer({
    clients: { redirectUris: [redirectUri], postLogoutRedirectUris: [postLogoutRedirectUri] },
    apiAudience,
    shareGrants,
  })
  const { clientId, clientSecret } = authorizationServer.clients.secret
  agent = await startAgent({
    issuer: authorizationServer.issuer,
    clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret },
  })
}

async function logIn(browser: Browser, serverJar: CookieJar): Promise<void> {
  const started = await browser.post('login/start')
  const authorizationUrl = new URL(String(started.json['authorization_url']))
  const callback = await signIn({ authorizationUrl, redirectUri, jar: serverJar })
  expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
}

const revocations = (): number => authorizationServer.requests.filter(({ path }) => path.includes('revocation')).length

describe('a login in a browser that has a session', () => {
  it('survives an authorization server that ends the whole grant with any of its refresh tokens', async () => {
    await start(true)
    const browser = agent.browser()
    const serverJar = new CookieJar()
    await logIn(browser, serverJar)
    await logIn(browser, serverJar)
    // What the login does in the background is done before the agent stops, and before this refresh in any order.
    expect((await browser.post('refresh')).status).toBe(200)
    expect((await browser.post('refresh')).status).toBe(200)
    await agent.agent.close()
    expect(revocations()).toBe(0)
  })

  it('revokes the refresh token of the session before it, if that was another session of the server', async () => {
    await start(false)
    const browser = agent.browser()
    await logIn(browser, new CookieJar())
    await logIn(browser, new CookieJar())
    expect((await browser.post('refresh')).status).toBe(200)
    await agent.agent.close()
    expect(revocations()).toBe(1)
  })
})
