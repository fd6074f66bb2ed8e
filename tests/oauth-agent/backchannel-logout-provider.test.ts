import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import type { RuleSet } from '@token-handler/shared'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn, signOut } from '../support/sign-in.ts'
import { until } from '../support/until.ts'
import {
  apiAudience,
  postLogoutRedirectUri,
  redirectUri,
  startAgent,
  type Browser,
  type RunningAgent,
} from './running-agent.ts'

/** The whole way, with oidc-provider as the authorization server: it tells the agent of a logout that happened there. */
let receiver: Server
let authorizationServer: AuthorizationServer
let agent: RunningAgent

beforeAll(async () => {
  // Inside of a test file oidc-provider cannot see Node's HTTP dispatcher, which is not used anyway, and says so.
  jest.spyOn(console, 'warn').mockReturnValueOnce()
  // The server must know the agent's address, and the agent the server's.
  receiver = createServer((req, res) => agent.agent.handler(req, res))
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const { port } = receiver.address() as AddressInfo
  authorizationServer = await startAuthorizationServer({
    clients: {
      redirectUris: [redirectUri],
      postLogoutRedirectUris: [postLogoutRedirectUri],
      backchannelLogoutUri: `http://127.0.0.1:${port}/oauth-agent/backchannel-logout`,
    },
    apiAudience,
  })
  const { clientId, clientSecret } = authorizationServer.clients.secret
  agent = await startAgent({
    issuer: authorizationServer.issuer,
    clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret },
    authorizationServer: { idTokenAlgorithms: ['RS256', 'ES256', 'PS256', 'EdDSA'] },
  })
})
afterAll(async () => {
  await agent.close()
  await authorizationServer.close()
  receiver.close()
  receiver.closeAllConnections()
})

/** @param jar The browser's cookies at the authorization server. */
async function logIn(jar: CookieJar): Promise<Browser> {
  const browser = agent.browser()
  const started = await browser.post('login/start')
  const authorizationUrl = String(started.json['authorization_url'])
  const callback = await signIn({ authorizationUrl, redirectUri, jar })
  const answer = await browser.post('login/end', callback.searchParams)
  expect([answer.status, answer.json['is_logged_in']]).toEqual([200, true])
  return browser
}

it('[C-63] [B-BC-08] [G-3] a logout at the authorization server ends the sessions that began in that browser, and no others', async () => {
  const [jar, otherJar] = [new CookieJar(), new CookieJar()]
  const mine = await logIn(jar)
  const mineToo = await logIn(jar)
  const theirs = await logIn(otherJar)
  const logoutUrl = new URL(`${authorizationServer.issuer}/session/end`)
  const { clientId } = authorizationServer.clients.secret
  logoutUrl.search = new URLSearchParams({
    client_id: clientId,
    post_logout_redirect_uri: postLogoutRedirectUri,
  }).toString()
  await signOut({ logoutUrl, postLogoutRedirectUri, jar })
  await until('the agent was told', () => agent.events().includes('backchannel_logout'))
  const rules = (agent.ledger.rules as RuleSet).inForce()
  expect(rules.map(({ key, reason }) => [key.split(':')[0], reason])).toContainEqual(['asid', 'backchannel_logout'])
  for (const browser of [mine, mineToo]) {
    const answer = await browser.post('refresh')
    expect([answer.status, answer.json['error_code']]).toEqual([401, 'session_expired'])
  }
  expect((await theirs.post('refresh')).status).toBe(200)
})
