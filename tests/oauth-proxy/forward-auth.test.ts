import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { hardenServer, serverOptions, type ForwardAuthOptions } from '@token-handler/oauth-proxy'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { publicOrigin, startProxy, type ProxySetup, type ProxyUnderTest } from './proxy-under-test.ts'

const secret = 'canary-gateway-secret-0123456789abcdef'
const asked = ['X-Original-Method: GET', 'X-Original-URI: /api/orders?a=b', 'X-Original-Host: www.example.com']
const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='

let proxy: ProxyUnderTest
let gatewaySide: Server

afterEach(async () => {
  const closed = once(gatewaySide, 'close')
  gatewaySide.close()
  gatewaySide.closeAllConnections()
  await closed
  await proxy.close()
})

async function start(forwardAuth: Partial<ForwardAuthOptions> = {}, setup: ProxySetup = {}): Promise<void> {
  proxy = await startProxy({
    ...setup,
    options: {
      ...setup.options,
      forwardAuth: {
        style: 'original',
        peers: ['127.0.0.1'],
        secrets: [secret],
        clientCertificate: false,
        ...forwardAuth,
      },
    },
  })
  gatewaySide = createServer(serverOptions)
  hardenServer(gatewaySide)
  if (proxy.proxy.authorize === undefined) throw new Error('no forward auth')
  gatewaySide.on('request', proxy.proxy.authorize)
  gatewaySide.listen(0, '127.0.0.1')
  await once(gatewaySide, 'listening')
}

function ask(headers: readonly string[], { without = /^$/, line = 'GET /authorize' } = {}): Promise<RawAnswer> {
  const { port } = gatewaySide.address() as AddressInfo
  const lines = [...proxy.spaHeaders, `Token-Handler-Gateway-Secret: ${secret}`].filter((each) => !without.test(each))
  return exchange(port, rawRequest(line, [...lines, ...headers]), { method: line.split(' ')[0] ?? 'GET' })
}

const outcome = (answer: RawAnswer): unknown => [
  answer.status,
  answer.body === '' ? undefined : answer.json().code,
  answer.values('authorization').length,
  answer.values('cookie').length,
]
const denied = (status: number, code: string): unknown => [status, code, 0, 0]

describe('GET /authorize', () => {
  it('answers 200 with what takes the place of Authorization and Cookie', async () => {
    await start({}, { routes: [{ forwardCookies: ['theirs'] }] })
    const cookie = `Cookie: other=1; ${proxy.session.cookie}; theirs=2`
    const answer = await ask([...asked, cookie], { without: /^Cookie/ })
    expect(answer.status).toBe(200)
    expect(answer.values('authorization')).toEqual([`Bearer ${proxy.session.accessToken}`])
    expect(answer.values('cookie')).toEqual(['theirs=2'])
    expect(answer.values('cache-control')).toEqual(['no-store'])
    expect(answer.values('set-cookie')).toEqual([])
    expect(answer.values('access-control-allow-origin')).toEqual([publicOrigin])
    expect(answer.values('access-control-expose-headers').join()).not.toMatch(/authorization/i)
    expect(answer.body).toBe('')
    expect(proxy.upstream.received()).toBe('')
  })

  it('sends both headers empty when there is nothing to send', async () => {
    await start({}, { routes: [{ session: 'none' }] })
    const answer = await ask(asked)
    expect([answer.status, answer.values('authorization'), answer.values('cookie')]).toEqual([200, [''], ['']])
  })

  it('speaks to nobody but gateways, and tells nobody else anything', async () => {
    await start()
    const strangers = [
      await ask(asked, { without: /^Token-Handler-Gateway/ }),
      await ask([...asked, 'Token-Handler-Gateway-Secret: wrong'], { without: /^Token-Handler-Gateway/ }),
      await ask([...asked, `Token-Handler-Gateway-Secret: ${secret}`]),
      await ask([...asked, `Token-Handler-Gateway-Secret: ${secret} `.trim().slice(0, -1)], {
        without: /^Token-Handler-Gateway/,
      }),
    ]
    for (const answer of strangers) {
      expect(outcome(answer)).toEqual(denied(403, 'untrusted_gateway'))
      expect(answer.values('access-control-allow-origin')).toEqual([])
      expect(answer.values('token-handler-error')).toEqual([])
    }
    expect(proxy.log.map(({ fields }) => fields['reason'])).toEqual(['secret', 'secret', 'secret', 'secret'])
    expect(JSON.stringify(proxy.log)).not.toContain('canary')
  })

  it('speaks to no other address, whatever it shows', async () => {
    await start({ peers: ['192.0.2.0/24', '::1'] })
    expect(outcome(await ask(asked))).toEqual(denied(403, 'untrusted_gateway'))
    expect(proxy.log[0]?.fields).toMatchObject({ reason: 'peer', peer: '127.0.0.1' })
  })

  it('asks for a certificate where that is configured, besides the secret', async () => {
    await start({ clientCertificate: true })
    expect(outcome(await ask(asked))).toEqual(denied(403, 'untrusted_gateway'))
    expect(proxy.log[0]?.fields['reason']).toBe('certificate')
  })

  it('takes the previous secret as well', async () => {
    await start({ secrets: ['another-secret-of-the-same-gateway-1234', secret] })
    expect((await ask(asked)).status).toBe(200)
  })

  it.each([
    ['no method', asked.slice(1)],
    ['no URI', asked.toSpliced(1, 1)],
    ['no host', asked.slice(0, 2)],
    ['two methods', [...asked, 'X-Original-Method: GET']],
    ['two URIs', [...asked, 'x-original-uri: /api/orders?a=b']],
    ['two hosts', [...asked, 'X-ORIGINAL-HOST: www.example.com']],
    ['an empty method', asked.with(0, 'X-Original-Method:')],
    ['an empty URI', asked.with(1, 'X-Original-URI:')],
    ['a method that is none', asked.with(0, 'X-Original-Method: GET /')],
    ['another host', asked.with(2, 'X-Original-Host: evil.test')],
    ['a URI of another host', asked.with(1, 'X-Original-URI: http://evil.test/api/orders')],
    ['two keys of WebSockets', [...asked, key, key]],
    ['a key beside another method', [...asked.with(0, 'X-Original-Method: POST'), key]],
    ['Upgrade without a key', [...asked, 'Connection: upgrade', 'Upgrade: websocket']],
    ['Upgrade to something else', [...asked, key, 'Connection: upgrade', 'Upgrade: h2c']],
    ['headers of another style', asked.map((line) => line.replace('Original', 'Forwarded'))],
    ['[B-FA-01] an access token in the query', asked.with(1, 'X-Original-URI: /api/orders?access_token=stolen')],
    ['a path with two readings', asked.with(1, 'X-Original-URI: /api/%2e%2e/x')],
  ])('refuses %s', async (_what, headers) => {
    await start()
    expect(outcome(await ask(headers))).toEqual(denied(403, 'invalid_request'))
  })

  it.each(['POST /authorize', 'HEAD /authorize', 'GET /', 'GET /authorize/x', 'GET /api/orders', 'PUT /authorize'])(
    'refuses a sub-request that a gateway would not make: %s',
    async (line) => {
      await start()
      expect((await ask(asked, { line })).status).toBe(403)
    },
  )

  it('[A-13] judges the original method, path and policy', async () => {
    await start({}, { routes: [{}, { path: '/api/admin', scopes: ['admin'] }] })
    const post = asked.with(0, 'X-Original-Method: POST')
    expect(outcome(await ask(post, { without: /^token-handler-version/ }))).toEqual(denied(403, 'missing_header'))
    expect(outcome(await ask(asked.with(0, 'X-Original-Method: TRACE')))).toEqual(denied(403, 'method_not_allowed'))
    expect(outcome(await ask(asked.with(1, 'X-Original-URI: /other')))).toEqual(denied(403, 'not_found'))
    expect(outcome(await ask(asked.with(1, `X-Original-URI: /api/${'a'.repeat(8200)}`)))).toEqual(
      denied(403, 'uri_too_long'),
    )
    const admin = await ask(asked.with(1, 'X-Original-URI: /api/admin/x'))
    expect(outcome(admin)).toEqual(denied(403, 'insufficient_scope'))
    expect(admin.values('www-authenticate')[0]).toContain('scope="admin"')
  })

  it('takes any port of the public host, for gateways may listen on several', async () => {
    await start()
    expect((await ask(asked.with(2, 'X-Original-Host: WWW.example.com:8443'))).status).toBe(200)
  })

  it('[D-CS-08] gives 401 with our JSON as body and as header, challenge and CORS', async () => {
    await start()
    const answer = await ask(asked, { without: /^Cookie/ })
    expect(outcome(answer)).toEqual(denied(401, 'session_missing'))
    expect(answer.values('token-handler-error')).toEqual([answer.body])
    expect(answer.values('www-authenticate')).toEqual(['Bearer'])
    expect(answer.values('access-control-allow-origin')).toEqual([publicOrigin])
    expect(answer.values('cache-control')).toEqual(['no-store'])
  })

  it('shares its limits with the proxy, and counts the address that the gateway tells', async () => {
    const rateLimit = { perAddress: { requests: 2, windowSeconds: 60 } }
    await start({}, { options: { rateLimit } })
    const from = (address: string): Promise<RawAnswer> => ask([...asked, `X-Forwarded-For: ${address}`])
    expect([(await from('192.0.2.1')).status, (await from('192.0.2.1')).status]).toEqual([200, 200])
    const limited = await from('192.0.2.1')
    expect(outcome(limited)).toEqual(denied(403, 'too_many_requests'))
    expect(limited.values('retry-after')).toEqual(['30'])
    expect((await from('192.0.2.2')).status).toBe(200)
  })

  it('never answers about its own address, even where a route is for everything', async () => {
    await start({}, { routes: [{ path: '/', session: 'none' }] })
    for (const path of ['/authorize', '/authorize?x', '/_token_handler/authorize']) {
      expect(outcome(await ask(asked.with(1, `X-Original-URI: ${path}`)))).toEqual(denied(403, 'not_found'))
    }
    expect((await ask(asked.with(1, 'X-Original-URI: /authorized'))).status).toBe(200)
  })

  it('judges WebSocket handshakes by their Origin alone, on routes that have them', async () => {
    await start({}, { routes: [{ webSocket: true }, { path: '/api/without' }] })
    const without = await ask([...asked.with(1, 'X-Original-URI: /api/without'), key])
    expect(outcome(without)).toEqual(denied(403, 'invalid_request'))
    const bare = /^(?:Sec-Fetch|token-handler-version)/
    expect((await ask([...asked, key], { without: bare })).status).toBe(200)
    const passedOn = ['Connection: Upgrade', 'Upgrade: WebSocket']
    expect((await ask([...asked, key, ...passedOn], { without: bare })).status).toBe(200)
    expect(outcome(await ask([...asked, key], { without: /^Origin/ }))).toEqual(denied(403, 'missing_origin'))
    const evil = await ask([...asked, key, 'Origin: https://evil.test'], { without: /^Origin/ })
    expect(outcome(evil)).toEqual(denied(403, 'untrusted_origin'))
  })

  it('never lets a preflight through', async () => {
    await start({}, { routes: [{ methods: ['GET', 'OPTIONS'], session: 'none' }] })
    const preflight = [...asked.with(0, 'X-Original-Method: OPTIONS'), 'Access-Control-Request-Method: GET']
    expect(outcome(await ask(preflight, { without: /^token-handler-version/ }))).toEqual(denied(403, 'missing_header'))
  })
})

describe('other gateways', () => {
  it('tell in X-Forwarded-Method, -Uri and -Host, with or without a query of the sub-request', async () => {
    await start({ style: 'forwarded' })
    const forwarded = ['X-Forwarded-Method: GET', 'X-Forwarded-Uri: /api/x', 'X-Forwarded-Host: www.example.com']
    expect((await ask(forwarded, { line: 'GET /authorize?a=b' })).status).toBe(200)
    expect(outcome(await ask(asked))).toEqual(denied(403, 'invalid_request'))
    expect(outcome(await ask([...forwarded, 'X-Forwarded-Uri: /api/y']))).toEqual(denied(403, 'invalid_request'))
  })

  it('tell in the sub-request itself (Envoy)', async () => {
    await start({ style: 'ext_authz' }, { routes: [{ path: '/', session: 'none' }, { path: '/api' }] })
    const answer = await ask([], { line: 'POST /authorize/api/orders?a=b' })
    expect([answer.status, answer.values('authorization')]).toEqual([200, [`Bearer ${proxy.session.accessToken}`]])
    const unguarded = await ask(asked, { line: 'POST /authorize/api/orders', without: /^token-handler-version/ })
    expect(outcome(unguarded)).toEqual(denied(403, 'missing_header'))
    for (const line of ['GET /api/orders', 'GET /authorize', 'GET /authorizeapi']) {
      expect(outcome(await ask(asked, { line }))).toEqual(denied(403, 'invalid_request'))
    }
    for (const line of ['GET /authorize/authorize', 'GET /authorize/authorize/api/orders']) {
      expect(outcome(await ask([], { line }))).toEqual(denied(403, 'not_found'))
    }
    expect(outcome(await ask([], { line: 'GET /authorize//evil.test/x' }))).toEqual(denied(403, 'invalid_request'))
  })
})
