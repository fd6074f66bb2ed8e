import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, errorCatalogue, systemClock, type ErrorCode } from '@token-handler/shared'
import { request } from 'undici'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import {
  apiAudience,
  postLogoutRedirectUri,
  redirectUri,
  startAgent,
  type AgentAnswer,
  type RunningAgent,
} from '../oauth-agent/running-agent.ts'
import { signIn } from '../support/sign-in.ts'
import { generateCapabilitySigning, jwtCapability } from '../oauth-agent/capability-options.ts'
import { danglingReferences, problemsOfAnswer, readDocument, type ApiResponse } from './openapi-document.ts'

const document = readDocument()
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

let authorizationServer: AuthorizationServer
let agent: RunningAgent
let agentWithHint: RunningAgent
let agentWithoutStore: RunningAgent
let agentWithoutServer: RunningAgent

beforeAll(async () => {
  authorizationServer = await startAuthorizationServer({
    clients: { redirectUris: [redirectUri], postLogoutRedirectUris: [postLogoutRedirectUri] },
    apiAudience,
  })
  const { issuer, clients } = authorizationServer
  const client = {
    issuer,
    clientId: clients.secret.clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret: clients.secret.clientSecret },
  } as const
  agent = await startAgent({ ...client, publicOrigin: 'https://api.example.test' })
  agentWithHint = await startAgent({
    ...client,
    options: {
      logout: { idTokenHint: true },
      detailedErrors: true,
      capabilities: [jwtCapability],
      capabilitySigning: generateCapabilitySigning(),
    },
  })
  const unknown = async () => ({ state: 'unknown' }) as const
  const ledger = createMemoryLedger(systemClock)
  agentWithoutStore = await startAgent({ ...client, ledger: { ...ledger, claimLogin: unknown } })
  agentWithoutServer = await startAgent({ ...client, issuer: 'http://127.0.0.1:9' })
})
afterAll(async () => {
  for (const running of [agent, agentWithHint, agentWithoutStore, agentWithoutServer]) await running?.close()
  await authorizationServer.close()
})

describe('docs/openapi.yaml', () => {
  it('is OpenAPI 3.1 whose references all lead somewhere', () => {
    expect(document.openapi).toMatch(/^3\.1\./)
    expect(danglingReferences()).toEqual([])
    for (const { operation } of operations) {
      expect(operation.operationId).toMatch(/^[a-zA-Z]+$/)
      expect(operation.summary).toBeTruthy()
    }
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
  })

  it('has every code that the agent can answer with, under its status, and no other', () => {
    const documented = Object.values(document.components.responses).flatMap(codesOf)
    expect(documented.toSorted()).toEqual(codesOfTheAgent().toSorted())
    const statuses = operations.flatMap(({ operation }) =>
      Object.entries(operation.responses).flatMap(([status, response]) =>
        codesOf(response).map((code) => [code, status]),
      ),
    )
    expect(statuses.filter(([code, status]) => String(errorCatalogue[code as ErrorCode].status) !== status)).toEqual([])
  })

  it('has every path and method that the agent answers, and no other', async () => {
    const browser = agentWithHint.browser()
    for (const { path, method } of operations) {
      const target = path.slice(1).replace('{name}', jwtCapability.name)
      const answer = await browser.send(method.toUpperCase(), target)
      expect([404, 405]).not.toContain(answer.status)
      const other = await browser.send(method === 'get' ? 'DELETE' : 'PUT', target)
      expect([path, other.status]).toEqual([path, 405])
    }
    const source = readFileSync(join(import.meta.dirname, '../../oauth-agent/src/app.ts'), 'utf8')
    const routes = [...source.matchAll(/`\$\{base\}(\/[a-z/.:-]+)`/g)]
      .map(([, path = '']) => path.replace(/:(\w+)/, '{$1}'))
      // A beginning of paths is no route.
      .filter((path) => !path.endsWith('/'))
    expect([...new Set(routes)].toSorted()).toEqual(Object.keys(document.paths).toSorted())
  })
})

describe('the answers of the running agent follow docs/openapi.yaml', () => {
  it('a login, its session, a refresh and a logout', async () => {
    const browser = agent.browser()
    const started = check('/login/start', 'post', await browser.post('login/start', { scope: 'openid profile' }))
    const callback = await signIn({ authorizationUrl: String(started.json['authorization_url']), redirectUri })
    check('/login/end', 'post', await browser.post('login/end', callback.searchParams))
    check('/session', 'get', await browser.get('session'))
    check('/refresh', 'post', await browser.post('refresh'))
    const loggedOut = check('/logout', 'post', await browser.post('logout'))
    const none = check('/session', 'get', await browser.get('session'))
    expect([started, loggedOut, none].map(({ status }) => status)).toEqual([200, 200, 200])
    expect(none.json).toEqual({ is_logged_in: false })
    expect(started.headers.get('strict-transport-security')).toBeTruthy()
  })

  it('a capability and the keys to verify it by', async () => {
    const browser = agentWithHint.browser()
    const path = '/capabilities/{name}'
    const without = check(path, 'post', await browser.post(`capabilities/${jwtCapability.name}`))
    const started = await browser.post('login/start')
    const callback = await signIn({ authorizationUrl: String(started.json['authorization_url']), redirectUri })
    await browser.post('login/end', callback.searchParams)
    const issued = check(path, 'post', await browser.post(`capabilities/${jwtCapability.name}`))
    const unknown = check(path, 'post', await browser.post('capabilities/unknown'))
    expect([without, issued, unknown].map(({ status }) => status)).toEqual([401, 200, 404])
    check('/jwks.json', 'get', await browser.get('jwks.json'))
  })

  it('the way out with the ID token', async () => {
    const browser = agentWithHint.browser()
    const started = await browser.post('login/start')
    const callback = await signIn({ authorizationUrl: String(started.json['authorization_url']), redirectUri })
    await browser.post('login/end', callback.searchParams)
    const loggedOut = check('/logout', 'post', await browser.post('logout'))
    expect(loggedOut.json['logout_url']).toMatch(/\/oauth-agent\/logout\/continue$/)
    const cookie = browser.jar.header(new URL('logout/continue', agentWithHint.url))
    const continued = await navigate(agentWithHint, { cookie })
    expect(check('/logout/continue', 'get', continued).status).toBe(303)
    expect(check('/logout/continue', 'get', await navigate(agentWithHint, {})).status).toBe(400)
    const crossSite = await navigate(agentWithHint, { cookie, 'sec-fetch-site': 'cross-site' })
    expect(check('/logout/continue', 'get', crossSite).status).toBe(403)
  })

  it('every kind of error', async () => {
    const browser = agent.browser()
    const answers: [string, string, AgentAnswer][] = [
      ['/login/end', 'post', await browser.post('login/end', { state: 'unknown', code: 'c' })],
      ['/login/end', 'post', await browser.post('login/end', { code: 'c' })],
      ['/login/start', 'post', await browser.post('login/start', { unheard_of: 'x' })],
      ['/login/start', 'post', await browser.post('login/start', 'x=1', { 'content-type': 'text/plain' })],
      ['/login/start', 'post', await browser.post('login/start', { login_hint: 'x'.repeat(20_000) })],
      ['/refresh', 'post', await browser.post('refresh')],
      ['/session', 'get', await browser.get('session', { 'token-handler-version': '2' })],
      ['/session', 'get', await browser.get('session', { origin: 'https://evil.test' })],
      ['/session', 'get', await browser.get('session', { 'sec-fetch-site': 'cross-site' })],
      ['/logout', 'post', await browser.post('logout', undefined, { 'sec-fetch-dest': 'document' })],
      ['/login/start', 'post', await agentWithoutServer.browser().post('login/start')],
    ]
    for (const error of ['access_denied', 'login_required', 'consent_required', 'server_error']) {
      const pending = await pendingLogin(agent)
      const response = { state: pending.state, error, iss: authorizationServer.issuer }
      const answer = await pending.browser.post('login/end', response)
      answers.push(['/login/end', 'post', answer])
    }
    const withoutStore = await pendingLogin(agentWithoutStore)
    const unavailable = await withoutStore.browser.post('login/end', {
      state: withoutStore.state,
      code: 'c',
      iss: authorizationServer.issuer,
    })
    answers.push(['/login/end', 'post', unavailable])

    const codes = answers.map(([path, method, answer]) => String(check(path, method, answer).json['error_code']))
    expect(codes).toEqual([
      'unknown_state',
      'invalid_request',
      'invalid_request',
      'unsupported_media_type',
      'payload_too_large',
      'session_expired',
      'missing_header',
      'untrusted_origin',
      'cross_site',
      'untrusted_destination',
      'authorization_server_error',
      'access_denied',
      'login_required',
      'interaction_required',
      'authorization_error',
      'store_unavailable',
    ])
  })

  it('unknown paths, other methods, and preflights', async () => {
    const browser = agent.browser()
    const { NotFound, MethodNotAllowed } = document.components.responses
    expect(problemsOfAnswer(NotFound, await browser.get('unknown'))).toEqual([])
    expect(problemsOfAnswer(MethodNotAllowed, await browser.get('refresh'))).toEqual([])
    expect(problemsOfAnswer(MethodNotAllowed, await browser.post('session'))).toEqual([])
    const preflight = await browser.send('OPTIONS', 'session', undefined, {
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'token-handler-version',
    })
    expect([preflight.status, preflight.text]).toEqual([204, ''])
  })

  it('control: an answer that does not follow it is found', async () => {
    const good = await agent.browser().get('session')
    const responses = document.paths['/session']?.['get']?.responses ?? {}
    const wrong = (change: Partial<AgentAnswer>) => problemsOfAnswer(responses['200'], { ...good, ...change })
    expect(wrong({})).toEqual([])
    expect(wrong({ json: { is_logged_in: false, extra: 1 } })).not.toEqual([])
    expect(wrong({ json: { is_logged_in: true } })).not.toEqual([])
    expect(wrong({ headers: new Headers([...good.headers, ['x-undocumented', '1']]) })).not.toEqual([])
    const { 'cache-control': _dropped, ...rest } = Object.fromEntries(good.headers)
    expect(wrong({ headers: new Headers(rest) })).not.toEqual([])
  })
})

/** Fails unless the answer is one that the document has; hands it on. */
function check(path: string, method: string, answer: AgentAnswer): AgentAnswer {
  const response = document.paths[path]?.[method]?.responses[answer.status]
  expect([path, method, answer.status, problemsOfAnswer(response, answer)]).toEqual([path, method, answer.status, []])
  return answer
}

/** A navigation of the window; `fetch` would call itself something else. */
async function navigate({ url }: RunningAgent, headers: Record<string, string>): Promise<AgentAnswer> {
  const response = await request(new URL('logout/continue', url), {
    headers: { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', ...headers },
  })
  const text = await response.body.text()
  const lines = Object.entries(response.headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((one): [string, string] => [name, one]),
  )
  const setCookies = [response.headers['set-cookie'] ?? []].flat()
  const json = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  return { status: response.statusCode, headers: new Headers(lines), setCookies, text, json }
}

function codesOf({ content }: ApiResponse): string[] {
  const schema = content?.['application/json']?.schema as
    { allOf?: readonly { properties?: { error_code?: { enum?: readonly string[] } } }[] } | undefined
  return schema?.allOf?.flatMap(({ properties }) => properties?.error_code?.enum ?? []) ?? []
}

/** Every error code that stands in the agent's sources, and those of the guards. */
function codesOfTheAgent(): string[] {
  const root = join(import.meta.dirname, '../..')
  const sources = readdirSync(join(root, 'oauth-agent/src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join('oauth-agent/src', name))
  const texts = [...sources, 'shared/src/guards.ts'].map((name) => readFileSync(join(root, name), 'utf8'))
  const words = texts.flatMap((text) => [...text.matchAll(/'([a-z_]+)'/g)].map(([, word = '']) => word))
  return [...new Set(words.filter((word) => Object.hasOwn(errorCatalogue, word)))]
}

async function pendingLogin(running: RunningAgent): Promise<{
  browser: ReturnType<RunningAgent['browser']>
  state: string
}> {
  const browser = running.browser()
  const started = await browser.post('login/start')
  const authorizationUrl = String(started.json['authorization_url'])
  const response = await signIn({ authorizationUrl, redirectUri })
  return { browser, state: response.searchParams.get('state') ?? '' }
}
