import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import {
  apiAudience,
  postLogoutRedirectUri,
  redirectUri,
  startAgent,
  trustedOrigin,
  type RunningAgent,
} from '../oauth-agent/running-agent.ts'
import { fakeClock } from '../support/clock.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'
import { Assistant, RemoteError } from './assistant.ts'

let clock: ReturnType<typeof fakeClock>
let authorizationServer: AuthorizationServer
let agent: RunningAgent
let jar: CookieJar
let assistant: Assistant

beforeAll(async () => {
  authorizationServer = await startAuthorizationServer({
    clients: { redirectUris: [redirectUri], postLogoutRedirectUris: [postLogoutRedirectUri] },
    apiAudience,
  })
})

beforeEach(async () => {
  clock = fakeClock(Date.now())
  const { clientId, clientSecret } = authorizationServer.clients.secret
  agent = await startAgent({
    issuer: authorizationServer.issuer,
    clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret },
    clock,
    options: { detailedErrors: true },
  })
  jar = new CookieJar({ now: () => clock.now() })
  assistant = new Assistant(agent.url, jar)
})

afterEach(() => agent.close())
afterAll(() => authorizationServer.close())

async function logIn(): Promise<string> {
  const authorizationUrl = new URL(await assistant.startLogin())
  return (await signIn({ authorizationUrl, redirectUri })).href
}

describe("Curity's JavaScript assistant against the agent", () => {
  it('rule 1: gets JSON from every call that succeeds, refresh and logout too', async () => {
    await assistant.onPageLoad(await logIn())
    await expect(assistant.refresh()).resolves.toBe(300)
    await expect(assistant.logout()).resolves.toContain('client_id=')
    await expect(assistant.logout()).resolves.toContain('client_id=')
  })

  it('rules 2 and 3: reads code and details of an error, for its content type has no charset', async () => {
    const error = await assistant.refresh().catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(RemoteError)
    expect([(error as RemoteError).status, (error as RemoteError).code]).toEqual([401, 'session_expired'])
    const refused = await assistant.startLogin({ audience: 'x' }).catch((caught: unknown) => caught)
    expect((refused as RemoteError).code).toBe('invalid_request')
    expect((refused as RemoteError).details).toEqual(expect.any(String))
  })

  it('rule 4: may send fields, an empty set of them, or no body at all', async () => {
    const url = new URL(await assistant.startLogin({ scope: 'openid profile', ui_locales: 'de' }))
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      client_id: agent.options.authorizationServer.clientId,
    })
    await expect(assistant.startLogin()).resolves.toContain(authorizationServer.issuer)
    await expect(assistant.logout()).resolves.toEqual(expect.any(String))
  })

  it('rule 5: passes preflights and may read refusals on another origin', async () => {
    const url = new URL('session', agent.url)
    const preflight = await fetch(url, {
      method: 'OPTIONS',
      headers: {
        origin: trustedOrigin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'token-handler-version',
      },
    })
    const { headers } = preflight
    expect(preflight.status).toBe(204)
    expect(headers.get('access-control-allow-origin')).toBe(trustedOrigin)
    expect(headers.get('access-control-allow-credentials')).toBe('true')
    expect(headers.get('access-control-allow-headers')).toContain('token-handler-version')
    const refused = await fetch(new URL('refresh', agent.url), { method: 'POST', headers: { origin: trustedOrigin } })
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, trustedOrigin])
    expect(refused.headers.get('access-control-allow-credentials')).toBe('true')
  })

  it('rule 6: sees the seconds that are left, counting down', async () => {
    const ended = await assistant.onPageLoad(await logIn())
    expect(ended.accessTokenExpiresIn).toBe(300)
    clock.advanceSeconds(40)
    expect((await assistant.session()).accessTokenExpiresIn).toBe(260)
    clock.advanceSeconds(1000)
    expect(await assistant.session()).toMatchObject({ isLoggedIn: true, accessTokenExpiresIn: 0 })
  })

  it('rules 7 and 8: is told of no session with 200, and of no claims then', async () => {
    const session = await assistant.onPageLoad('http://localhost:3000/orders?state=1')
    expect([session.isLoggedIn, session.idTokenClaims ?? null]).toEqual([false, null])
    expect((await assistant.onPageLoad(await logIn())).idTokenClaims).toMatchObject({ sub: 'demo' })
  })

  it('sends everything that the authorization server added to the callback, and the login ends well', async () => {
    const callback = new URL(await logIn())
    callback.searchParams.set('session_state', 'opaque')
    expect((await assistant.onPageLoad(callback.href)).isLoggedIn).toBe(true)
  })
})
