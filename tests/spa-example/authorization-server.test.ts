import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'
import { AUDIENCE, discover, login, POST_LOGOUT_REDIRECT_URI, REDIRECT_URI, SCOPE } from './code-flow.ts'

let server: AuthorizationServer
let config: client.Configuration

beforeAll(async () => {
  server = await startServer()
  config = await discover(server, 'secret')
})

afterAll(() => server.close())

function startServer(
  options: Partial<Parameters<typeof startAuthorizationServer>[0]> = {},
): Promise<AuthorizationServer> {
  return startAuthorizationServer({
    clients: { redirectUris: [REDIRECT_URI], postLogoutRedirectUris: [POST_LOGOUT_REDIRECT_URI] },
    apiAudience: AUDIENCE,
    ...options,
  })
}

describe('logging in', () => {
  it('gives a client that authenticates with its secret an access, a refresh and an ID token', async () => {
    const tokens = await login(config)
    expect(tokens).toMatchObject({ token_type: 'bearer', scope: 'orders:read orders:write', expires_in: 300 })
    expect(tokens.refresh_token).toEqual(expect.any(String))
    const recorded = server.requests.at(-1)
    expect(recorded).toMatchObject({ path: '/token', authorizationScheme: 'basic', status: 200 })
    expect(recorded?.parameters).toMatchObject({ grant_type: 'authorization_code', redirect_uri: REDIRECT_URI })
  })

  it('gives a client that authenticates with its private key the same', async () => {
    const tokens = await login(await discover(server, 'privateKey'))
    expect(tokens.refresh_token).toEqual(expect.any(String))
    const recorded = server.requests.at(-1)
    expect(recorded?.authorizationScheme).toBeUndefined()
    expect(recorded?.parameters['client_assertion']).toEqual(expect.any(String))
  })

  it('issues JWT access tokens for the API', async () => {
    const { access_token } = await login(config)
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
    const { payload, protectedHeader } = await jwtVerify(access_token, keys, {
      audience: AUDIENCE,
      issuer: server.issuer,
    })
    expect(protectedHeader).toMatchObject({ alg: 'ES256', typ: 'at+jwt' })
    expect(payload).toMatchObject({ sub: 'demo', client_id: 'spa-example', scope: 'orders:read orders:write' })
  })

  it('puts profile, session and authentication context into the ID token', async () => {
    const tokens = await login(config)
    expect(tokens.claims()).toMatchObject({
      sub: 'demo',
      name: 'Demo User',
      preferred_username: 'demo',
      email: 'demo@example.com',
      email_verified: true,
      sid: expect.any(String),
      auth_time: expect.any(Number),
      acr: 'urn:example:pwd',
      amr: ['pwd'],
    })
  })

  it('takes a pushed authorization request', async () => {
    const tokens = await login(config, { pushed: true })
    expect(tokens.claims()?.sub).toBe('demo')
    expect(server.requests.findLast(({ path }) => path === '/request')?.status).toBe(201)
  })

  it('names itself in the authorization response', async () => {
    const response = await authorize({})
    expect(response.searchParams.get('iss')).toBe(server.issuer)
  })

  it('keeps the tokens it issued for tests to look for', async () => {
    const tokens = await login(config)
    expect(server.issued.at(-1)).toEqual({
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      idToken: tokens.id_token,
    })
  })

  it.each([
    ['no code challenge', { code_challenge: '' }],
    ['a plain code challenge', { code_challenge_method: 'plain' }],
    ['another response type', { response_type: 'code id_token' }],
  ])('refuses an authorization request with %s', async (_what, parameters) => {
    const response = await authorize(parameters)
    const answer = new URLSearchParams(response.search || response.hash.slice(1))
    expect(answer.get('error')).toMatch(/^(invalid_request|unsupported_response_type)$/)
    expect(answer.has('code')).toBe(false)
  })

  it('refuses a redirect URI that is not registered, on a page of its own', async () => {
    const url = client.buildAuthorizationUrl(config, { redirect_uri: 'http://localhost:3000/other', scope: 'openid' })
    const response = await fetch(url, { redirect: 'manual' })
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('invalid_redirect_uri')
  })

  it('redeems a code once, and a second try ends what the first one gave', async () => {
    const codeVerifier = client.randomPKCECodeVerifier()
    const code_challenge = await client.calculatePKCECodeChallenge(codeVerifier)
    const response = await authorize({ code_challenge })
    const redeem = (): Promise<client.TokenEndpointResponse> =>
      client.authorizationCodeGrant(config, response, { pkceCodeVerifier: codeVerifier, expectedState: 'state-1' })
    const tokens = await redeem()
    await expect(redeem()).rejects.toMatchObject({ error: 'invalid_grant' })
    await expect(client.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })
})

describe('a session at the authorization server', () => {
  it('is used for the next login without asking', async () => {
    const jar = new CookieJar()
    const first = await login(config, { jar })
    const second = await login(config, { jar, parameters: { prompt: 'none' } })
    expect(second.claims()?.['sid']).toBe(first.claims()?.['sid'])
  })

  it('is missing for prompt=none in a new browser: login_required', async () => {
    const response = await authorize({ prompt: 'none' })
    expect(response.searchParams.get('error')).toBe('login_required')
  })

  it('does not replace the password for prompt=login', async () => {
    const jar = new CookieJar()
    await login(config, { jar })
    const page = await pageOf(jar, { prompt: 'login', login_hint: 'demo' })
    expect(page).toContain('name="password"')
    expect(page).toContain('value="demo"')
    await expect(login(config, { jar, parameters: { prompt: 'login' } })).resolves.toHaveProperty('access_token')
  })

  it('asks for consent with prompt=consent, and the form as it is agrees', async () => {
    const jar = new CookieJar()
    await login(config, { jar })
    expect(await pageOf(jar, { prompt: 'consent' })).toContain('<li>orders:write</li>')
    const tokens = await login(config, { jar, parameters: { prompt: 'consent' } })
    expect(tokens.scope).toBe('orders:read orders:write')
  })

  it('is stepped up by acr_values with the confirm step alone', async () => {
    const jar = new CookieJar()
    await login(config, { jar })
    const page = await pageOf(jar, { acr_values: 'urn:example:mfa' })
    expect(page).toContain('Confirm that it is you')
    expect(page).not.toContain('name="password"')
    const tokens = await login(config, { jar, parameters: { acr_values: 'urn:example:mfa' } })
    expect(tokens.claims()).toMatchObject({ acr: 'urn:example:mfa', amr: ['pwd', 'mfa'] })
    const later = await login(config, { jar, parameters: { acr_values: 'urn:example:pwd', prompt: 'none' } })
    expect(later.claims()?.['acr']).toBe('urn:example:mfa')
  })

  it('asks for password and confirmation when there was no session before', async () => {
    const tokens = await login(config, { parameters: { acr_values: 'urn:example:mfa' } })
    expect(tokens.claims()?.['acr']).toBe('urn:example:mfa')
  })

  it('cannot be stepped up silently', async () => {
    const jar = new CookieJar()
    await login(config, { jar })
    const response = await authorize({ prompt: 'none', acr_values: 'urn:example:mfa' }, jar)
    expect(response.searchParams.get('error')).toBe('unmet_authentication_requirements')
  })

  it('gives a fresh auth_time with max_age=0', async () => {
    const jar = new CookieJar()
    await login(config, { jar })
    expect(await pageOf(jar, { max_age: '0' })).toMatch(/name="password"|spa-example/)
    const tokens = await login(config, { jar, parameters: { max_age: '0', prompt: 'login' } })
    expect(Math.abs(Date.now() / 1000 - Number(tokens.claims()?.auth_time))).toBeLessThan(5)
  })
})

describe('refreshing', () => {
  it('rotates the refresh token', async () => {
    const first = await login(config)
    const second = await client.refreshTokenGrant(config, first.refresh_token ?? '')
    expect(second.refresh_token).not.toBe(first.refresh_token)
    expect(second.access_token).not.toBe(first.access_token)
    expect(second.scope).toBe('orders:read orders:write')
    expect(second.claims()).toMatchObject({ sub: 'demo', sid: first.claims()?.['sid'] })
  })

  it('ends the family when a refresh token is used again', async () => {
    const first = await login(config)
    const second = await client.refreshTokenGrant(config, first.refresh_token ?? '')
    await expect(client.refreshTokenGrant(config, first.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
    await expect(client.refreshTokenGrant(config, second.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })

  it('ends the family when a refresh token is used twice at the same time', async () => {
    const { refresh_token = '' } = await login(config)
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, () => client.refreshTokenGrant(config, refresh_token)),
    )
    const successes = results.filter((result) => result.status === 'fulfilled')
    expect(successes).toHaveLength(1)
    const successor = successes[0]?.value.refresh_token ?? ''
    await expect(client.refreshTokenGrant(config, successor)).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('keeps the refresh token when rotation is off', async () => {
    const steady = await startServer({ rotateRefreshTokens: false })
    const steadyConfig = await discover(steady, 'secret')
    const first = await login(steadyConfig)
    const second = await client.refreshTokenGrant(steadyConfig, first.refresh_token ?? '')
    expect(second.refresh_token ?? first.refresh_token).toBe(first.refresh_token)
    await expect(client.refreshTokenGrant(steadyConfig, first.refresh_token ?? '')).resolves.toHaveProperty(
      'access_token',
    )
    await steady.close()
  })

  it('gives access tokens the configured lifetime', async () => {
    const brief = await startServer({ accessTokenLifetimeSeconds: 2 })
    const tokens = await login(await discover(brief, 'secret'))
    const { exp = 0, iat = 0 } = decodeJwt(tokens.access_token)
    expect(tokens.expires_in).toBe(2)
    expect(exp - iat).toBe(2)
    await brief.close()
  })

  it('gives a token for userinfo and introspection when the scope is narrowed to OpenID Connect', async () => {
    const first = await login(config)
    const narrowed = await client.refreshTokenGrant(config, first.refresh_token ?? '', {
      scope: 'openid profile email',
    })
    const claims = await client.fetchUserInfo(config, narrowed.access_token, 'demo')
    expect(claims).toMatchObject({ sub: 'demo', name: 'Demo User', email: 'demo@example.com' })
    const introspected = await client.tokenIntrospection(config, narrowed.access_token)
    expect(introspected).toMatchObject({ active: true, sub: 'demo', client_id: 'spa-example' })
    const again = await client.refreshTokenGrant(config, narrowed.refresh_token ?? '')
    expect(again.scope).toBe('orders:read orders:write')
  })
})

describe('revoking and introspecting', () => {
  it('ends a refresh token', async () => {
    const { refresh_token = '' } = await login(config)
    expect(await client.tokenIntrospection(config, refresh_token)).toMatchObject({ active: true, sub: 'demo' })
    await client.tokenRevocation(config, refresh_token, { token_type_hint: 'refresh_token' })
    expect(await client.tokenIntrospection(config, refresh_token)).toEqual({ active: false })
    await expect(client.refreshTokenGrant(config, refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('of one login leaves another login of the same browser alone', async () => {
    const jar = new CookieJar()
    const first = await login(config, { jar })
    const second = await login(config, { jar })
    await client.tokenRevocation(config, first.refresh_token ?? '')
    await expect(client.refreshTokenGrant(config, second.refresh_token ?? '')).resolves.toHaveProperty('access_token')
  })

  it('of one login ends another login of the same browser when they share a grant', async () => {
    const sharing = await startServer({ shareGrants: true })
    const sharingConfig = await discover(sharing, 'secret')
    const jar = new CookieJar()
    const first = await login(sharingConfig, { jar })
    const second = await login(sharingConfig, { jar })
    await client.tokenRevocation(sharingConfig, first.refresh_token ?? '')
    await expect(client.refreshTokenGrant(sharingConfig, second.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
    await sharing.close()
  })

  it('does nothing for another client', async () => {
    const { refresh_token = '' } = await login(config)
    const other = await discover(server, 'privateKey')
    await client.tokenRevocation(other, refresh_token)
    expect(await client.tokenIntrospection(other, refresh_token)).toEqual({ active: false })
    await expect(client.refreshTokenGrant(config, refresh_token)).resolves.toHaveProperty('access_token')
  })
})

describe('the sign-in page', () => {
  it('says so when the password is wrong', async () => {
    const url = client.buildAuthorizationUrl(config, await request({}))
    const attempt = signIn({ authorizationUrl: url, redirectUri: REDIRECT_URI, password: 'wrong' })
    await expect(attempt).rejects.toThrow('User name or password is wrong.')
  })

  it('runs no script, allows no framing, and shows what was typed as text', async () => {
    const jar = new CookieJar()
    const url = client.buildAuthorizationUrl(config, await request({ login_hint: '"><script>alert(1)</script>' }))
    const { page, headers } = await open(jar, url)
    expect(page).not.toContain('<script')
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
    expect(headers.get('content-security-policy')).toContain("form-action 'self' http://localhost:3000")
    expect(headers.get('cache-control')).toBe('no-store')
  })

  it('sends the user back with access_denied after Cancel', async () => {
    const jar = new CookieJar()
    const { page } = await open(jar, client.buildAuthorizationUrl(config, await request({})))
    const [, path = ''] = /action="([^"]+\/abort)"/.exec(page) ?? []
    const url = new URL(path, server.issuer)
    const answer = await fetch(url, { method: 'POST', headers: { cookie: jar.header(url) }, redirect: 'manual' })
    jar.store(url, answer.headers.getSetCookie())
    const response = await signIn({
      authorizationUrl: answer.headers.get('location') ?? '',
      redirectUri: REDIRECT_URI,
      jar,
    })
    expect(response.searchParams.get('error')).toBe('access_denied')
    expect(response.searchParams.get('state')).toBe('state-1')
  })

  it('is of no use in a browser that did not start the flow', async () => {
    const { url } = await open(new CookieJar(), client.buildAuthorizationUrl(config, await request({})))
    const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ login: 'demo', password: 'demo' }) })
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('Start again')
  })
})

it('writes nothing to the console when it starts', async () => {
  const { execFile } = await import('node:child_process')
  const { promisify } = await import('node:util')
  const script = `
    const { startAuthorizationServer } = await import('./spa-example/authorization-server/server.ts')
    const server = await startAuthorizationServer({ clients: { redirectUris: ['http://localhost/cb'] }, apiAudience: 'urn:example:api' })
    await fetch(server.issuer + '/.well-known/openid-configuration')
    console.warn('still heard')
    await server.close()`
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])
  expect(stdout).toBe('')
  expect(stderr).toBe('still heard\n')
})

it('makes new secrets and keys at every start', async () => {
  const other = await startServer()
  expect(other.clients.secret.clientSecret).not.toBe(server.clients.secret.clientSecret)
  expect(other.clients.privateKey.privateKeyJwk.d).not.toBe(server.clients.privateKey.privateKeyJwk.d)
  await other.close()
})

async function request(parameters: Record<string, string>): Promise<Record<string, string>> {
  const code_challenge = await client.calculatePKCECodeChallenge(client.randomPKCECodeVerifier())
  const defaults = {
    redirect_uri: REDIRECT_URI,
    scope: SCOPE,
    state: 'state-1',
    code_challenge,
    code_challenge_method: 'S256',
  }
  return Object.fromEntries(Object.entries({ ...defaults, ...parameters }).filter(([, value]) => value !== ''))
}

async function authorize(parameters: Record<string, string>, jar = new CookieJar()): Promise<URL> {
  const authorizationUrl = client.buildAuthorizationUrl(config, await request(parameters))
  return signIn({ authorizationUrl, redirectUri: REDIRECT_URI, jar })
}

async function pageOf(jar: CookieJar, parameters: Record<string, string>): Promise<string> {
  return (await open(jar, client.buildAuthorizationUrl(config, await request(parameters)))).page
}

async function open(jar: CookieJar, start: URL): Promise<{ page: string; headers: Headers; url: URL }> {
  let url = start
  for (;;) {
    const answer = await fetch(url, { headers: { cookie: jar.header(url) }, redirect: 'manual' })
    jar.store(url, answer.headers.getSetCookie())
    const location = answer.headers.get('location')
    if (location === null || location.startsWith(REDIRECT_URI))
      return { page: await answer.text(), headers: answer.headers, url }
    url = new URL(location, url)
  }
}
