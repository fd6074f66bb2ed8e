import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTHeaderParameters } from 'jose'
import type * as client from 'openid-client'
import { startExampleApi, type ExampleApi } from '../../spa-example/api/server.ts'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { freePort } from '../support/free-port.ts'
import { AUDIENCE, discover, login, REDIRECT_URI } from './code-flow.ts'

let server: AuthorizationServer
let config: client.Configuration
let api: ExampleApi

beforeAll(async () => {
  server = await startAuthorizationServer({ clients: { redirectUris: [REDIRECT_URI] }, apiAudience: AUDIENCE })
  config = await discover(server, 'secret')
  api = await startExampleApi({ issuer: server.issuer, audience: AUDIENCE })
})

afterAll(async () => {
  await api.close()
  await server.close()
})

async function call(
  path: string,
  token?: string,
  init: RequestInit = {},
): Promise<{ response: Response; body: unknown }> {
  const headers = new Headers(init.headers)
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
  const response = await fetch(api.url + path, { ...init, headers })
  return { response, body: await response.json() }
}

function json(body: unknown): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

async function tokenFor(scope: string): Promise<string> {
  return (await login(config, { parameters: { scope } })).access_token
}

describe('the example API', () => {
  it('says who the token speaks for, and never the token', async () => {
    const token = await tokenFor('openid orders:read orders:write')
    const { response, body } = await call('/api/me', token)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(body).toEqual({
      sub: 'demo',
      client_id: 'spa-example',
      scope: 'orders:read orders:write',
      aud: AUDIENCE,
      iss: server.issuer,
      expires_in: expect.any(Number),
    })
    expect(JSON.stringify(body)).not.toContain(token.split('.')[2])
  })

  it('takes orders and lists them', async () => {
    const token = await tokenFor('openid orders:read orders:write')
    const created = await call('/api/orders', token, json({ item: 'Tea', quantity: 3 }))
    expect(created.response.status).toBe(201)
    expect(created.body).toMatchObject({ item: 'Tea', quantity: 3, created_at: expect.any(String) })
    const { body } = await call('/api/orders?sort=id', token)
    expect(body).toEqual({ orders: [created.body] })
  })

  it.each([
    ['reading', 'orders:write', 'orders:read', {}],
    ['writing', 'orders:read', 'orders:write', json({ item: 'Tea', quantity: 1 })],
  ])('refuses %s without its scope', async (_what, granted, needed, init) => {
    const { response, body } = await call('/api/orders', await tokenFor(`openid ${granted}`), init)
    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toContain(`error="insufficient_scope", scope="${needed}"`)
    expect(body).toMatchObject({ error: 'insufficient_scope' })
  })

  it('asks for a token without naming an error when there is none', async () => {
    const { response, body } = await call('/api/me')
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="example-api"')
    expect(body).toMatchObject({ error: 'token_missing' })
  })

  it.each([
    ['nothing there', '/api/nothing', {}, 404, 'not_found'],
    ['a prototype name', '/constructor', {}, 404, 'not_found'],
    ['a wrong method', '/api/orders', { method: 'DELETE' }, 405, 'method_not_allowed'],
    ['no JSON', '/api/orders', { method: 'POST', body: 'item=Tea' }, 415, 'unsupported_media_type'],
    ['broken JSON', '/api/orders', { ...json(0), body: '{' }, 400, 'invalid_order'],
    ['null', '/api/orders', json(null), 400, 'invalid_order'],
    ['no item', '/api/orders', json({ quantity: 1 }), 400, 'invalid_order'],
    ['half a quantity', '/api/orders', json({ item: 'Tea', quantity: 0.5 }), 400, 'invalid_order'],
    ['a large body', '/api/orders', json({ item: 'x'.repeat(70_000), quantity: 1 }), 413, 'too_large'],
  ])('answers %s with a JSON error', async (_what, path, init, status, error) => {
    const { response, body } = await call(path, await tokenFor('openid orders:read orders:write'), init)
    expect(response.status).toBe(status)
    expect(body).toEqual({ error, error_description: expect.any(String) })
  })

  it('names the allowed methods with 405', async () => {
    const { response } = await call('/api/orders', await tokenFor('openid'), { method: 'PUT' })
    expect(response.headers.get('allow')).toBe('GET, POST')
  })

  it('keeps what arrived for tests to look at', async () => {
    await call('/api/me?x=1', 'no-token', { headers: { 'X-Mark': 'here' } })
    expect(api.received.at(-1)).toMatchObject({ method: 'GET', url: '/api/me?x=1', headers: { 'x-mark': 'here' } })
    expect(api.received.at(-1)?.rawHeaders).toContain('Bearer no-token')
  })
})

describe('a forged access token', () => {
  const issuer = 'https://issuer.test'
  let forged: ExampleApi
  let key: CryptoKey
  let jwks: ReturnType<typeof createServer>

  beforeAll(async () => {
    const pair = await generateKeyPair('ES256')
    key = pair.privateKey
    const keySet = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256' }] })
    jwks = createServer((_req, res) => res.setHeader('content-type', 'application/json').end(keySet))
    await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve))
    const jwksUri = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/jwks`
    forged = await startExampleApi({ issuer, audience: AUDIENCE, jwksUri })
  })

  afterAll(async () => {
    await forged.close()
    jwks.close()
  })

  /** The error in the challenge, or the status when there is none. */
  async function outcomeOf(
    claims: object,
    header: Partial<JWTHeaderParameters> = {},
    signingKey = key,
  ): Promise<string | number> {
    const now = Math.floor(Date.now() / 1000)
    const good = { iss: issuer, aud: AUDIENCE, sub: 'demo', client_id: 'c', iat: now, exp: now + 60, ...claims }
    const token = await new SignJWT(good)
      .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'at+jwt', ...header })
      .sign(signingKey)
    const response = await fetch(`${forged.url}/api/me`, { headers: { authorization: `Bearer ${token}` } })
    const [, error] = /error="(\w+)"/.exec(response.headers.get('www-authenticate') ?? '') ?? []
    return error ?? response.status
  }

  it('would pass if everything in it were right', async () => {
    expect(await outcomeOf({})).toBe(200)
  })

  it.each([
    ['another issuer', { iss: 'https://other.test' }, {}],
    ['another audience', { aud: 'urn:other' }, {}],
    ['an expiry in the past', { exp: 1 }, {}],
    ['no expiry', { exp: undefined }, {}],
    ['no client', { client_id: undefined }, {}],
    ['the type of an ID token', {}, { typ: 'JWT' }],
    ['an unknown key id', {}, { kid: 'k2' }],
  ])('is refused for %s', async (_what, claims, header) => {
    expect(await outcomeOf(claims, header)).toBe('invalid_token')
  })

  it('is refused for the signature of another key', async () => {
    const { privateKey } = await generateKeyPair('ES256')
    expect(await outcomeOf({}, {}, privateKey)).toBe('invalid_token')
  })

  it('is refused without a signature', async () => {
    const claims = { iss: issuer, aud: AUDIENCE, sub: 'demo', client_id: 'c', iat: 1, exp: 9_999_999_999 }
    const parts = [{ alg: 'none', typ: 'at+jwt' }, claims].map((part) => Buffer.from(JSON.stringify(part)))
    const token = `${parts.map((part) => part.toString('base64url')).join('.')}.`
    const response = await fetch(`${forged.url}/api/me`, { headers: { authorization: `Bearer ${token}` } })
    expect(response.status).toBe(401)
  })
})

it('answers 503 while the authorization server is down, and recovers', async () => {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const early = await startExampleApi({ issuer, audience: AUDIENCE })
  const token = await tokenFor('openid')
  const ask = (bearer: string): Promise<Response> =>
    fetch(`${early.url}/api/me`, { headers: { authorization: `Bearer ${bearer}` } })
  const refused = await ask(token)
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  const late = await startAuthorizationServer({
    port,
    clients: { redirectUris: [REDIRECT_URI] },
    apiAudience: AUDIENCE,
  })
  const good = await login(await discover(late, 'secret'))
  expect((await ask(good.access_token)).status).toBe(200)
  await early.close()
  await late.close()
})
