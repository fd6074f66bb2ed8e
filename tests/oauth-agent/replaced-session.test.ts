import { afterEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, systemClock } from '@token-handler/shared'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'
import { faultyLedger } from './faulty-ledger.ts'
import {
  apiAudience,
  postLogoutRedirectUri,
  redirectUri,
  startAgent,
  type AgentAnswer,
  type AgentSetup,
  type Browser,
  type RunningAgent,
} from './running-agent.ts'

let authorizationServer: AuthorizationServer
let agent: RunningAgent

afterEach(async () => {
  await agent.close()
  await authorizationServer.close()
})

async function start(shareGrants: boolean, setup: Partial<AgentSetup> = {}): Promise<void> {
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
    ...setup,
  })
}

async function tryLogin(browser: Browser, serverJar: CookieJar, fields?: Record<string, string>): Promise<AgentAnswer> {
  const started = await browser.post('login/start', fields)
  const authorizationUrl = new URL(String(started.json['authorization_url']))
  const callback = await signIn({ authorizationUrl, redirectUri, jar: serverJar })
  return browser.post('login/end', callback.searchParams)
}

async function logIn(browser: Browser, serverJar: CookieJar): Promise<void> {
  expect((await tryLogin(browser, serverJar)).status).toBe(200)
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

  it('survives a refresh of the session before it that is under way, though the server ends whole grants', async () => {
    const [answered, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const memory = createMemoryLedger(systemClock)
    const faults = faultyLedger(memory)
    await start(true, { ledger: faults.ledger })
    const browser = agent.browser()
    const serverJar = new CookieJar()
    await logIn(browser, serverJar)
    faults.replaced.commit = async (commit) => {
      answered.resolve()
      await goOn.promise
      return memory.commit(commit)
    }
    const late = agent.browser().post('refresh', undefined, { cookie: browser.jar.header(agent.url) })
    await answered.promise
    await logIn(browser, serverJar)
    faults.replaced = {}
    goOn.resolve()
    expect((await late).json['error_code']).toBe('session_expired')
    expect((await browser.post('refresh')).status).toBe(200)
    await agent.agent.close()
    expect(revocations()).toBe(0)
  })
})

describe('a login that comes to nothing in a browser that has a session', () => {
  const tooWeak = { acr_values: 'urn:example:never' }

  it('leaves that session its grant, which the server ends with any of its refresh tokens', async () => {
    await start(true)
    const browser = agent.browser()
    const serverJar = new CookieJar()
    await logIn(browser, serverJar)
    expect((await tryLogin(browser, serverJar, tooWeak)).json['error_code']).toBe('authentication_too_weak')
    expect((await browser.post('refresh')).status).toBe(200)
    await agent.agent.close()
    expect(revocations()).toBe(0)
  })

  it('leaves no token alive, if it was another session of the server', async () => {
    await start(false)
    const browser = agent.browser()
    await logIn(browser, new CookieJar())
    expect((await tryLogin(browser, new CookieJar(), tooWeak)).json['error_code']).toBe('authentication_too_weak')
    expect((await browser.post('refresh')).status).toBe(200)
    await agent.agent.close()
    expect(revocations()).toBeGreaterThan(0)
  })

  it('leaves no token alive, if a rule ended both sessions meanwhile', async () => {
    const faults = faultyLedger(createMemoryLedger(systemClock))
    await start(true, { ledger: faults.ledger })
    const browser = agent.browser()
    const serverJar = new CookieJar()
    await logIn(browser, serverJar)
    faults.replaced = { complete: async () => ({ state: 'ended', reason: 'revoked' }) }
    expect((await tryLogin(browser, serverJar)).json['error_code']).toBe('session_ended')
    await agent.agent.close()
    expect(revocations()).toBeGreaterThan(0)
  })
})
