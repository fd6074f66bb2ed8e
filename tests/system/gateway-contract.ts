import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { deniedRequestHeaders } from '@token-handler/oauth-proxy'
import type { Gateway } from '@token-handler/shared'
import { freePort } from '../support/free-port.ts'
import { exchange, openClient, rawRequest } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { expectClientsToldApart } from './client-addresses.ts'
import {
  requestsPerAddress,
  startGatewayBed,
  type GatewayBed,
  type GatewayPorts,
  type RunningGateway,
} from './gateway-bed.ts'

const handshake = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

/** What frames a request, what the guards refuse, and what takes a WebSocket to the API, is tested by itself. */
const otherwiseTested =
  /^(?:host|connection|upgrade|transfer-encoding|content-length|expect|origin|referer|sec-fetch-|sec-websocket-)/
const deniedByGateways = deniedRequestHeaders
  .filter((name) => !otherwiseTested.test(name))
  .map((name) => name.replace(/-?\*$/, '-forged'))

/** What every recipe has to keep, against the real gateway, agent, proxy and forward auth. */
export function describeGateway(gateway: Gateway, start: (ports: GatewayPorts) => Promise<RunningGateway>): void {
  let bed: GatewayBed
  beforeAll(async () => {
    bed = await startGatewayBed(gateway, start)
    const login = await bed.browser.logIn()
    expect([login.status, login.json()['is_logged_in']]).toEqual([200, true])
  }, 60_000)
  afterAll(() => bed?.close())
  beforeEach(() => void bed.seen())

  const withoutCookie = (): string[] => bed.spaHeaders().filter((line) => !line.startsWith('Cookie'))
  const raw = (requestLine: string, headers: readonly string[], body = '') =>
    exchange(bed.ports.gateway, rawRequest(requestLine, headers, body))

  describe('requests of a session', () => {
    it('[A-21] get the bearer token in place of our cookies; a cookie that the route names stays', async () => {
      const answer = await bed.call('GET /api/orders?a=%20b')
      expect([answer.status, answer.json()]).toEqual([200, { ok: true }])
      const [request] = bed.seen()
      expect([request?.method, request?.target]).toEqual(['GET', '/api/orders?a=%20b'])
      expect(request?.values('authorization')).toEqual([expect.stringMatching(/^Bearer \S{100,}$/)])
      expect(request?.values('cookie')).toEqual(['theirs=1'])
    })

    it('[A-21] have no Cookie and no Authorization where nothing is to be sent', async () => {
      const headers = [...bed.spaHeaders(), 'Authorization: Bearer of-the-client']
      expect((await raw('GET /api/open/x', headers)).status).toBe(200)
      expect(
        (
          await raw(
            'GET /api/x',
            headers.map((line) => line.replace('; theirs=1', '')),
          )
        ).status,
      ).toBe(200)
      const [open, closed] = bed.seen()
      expect([open?.values('authorization'), open?.values('cookie')]).toEqual([[], []])
      expect([closed?.values('authorization').length, closed?.values('cookie')]).toEqual([1, []])
      expect(closed?.raw).not.toContain('of-the-client')
    })

    it('send their bodies', async () => {
      const answer = await bed.call('POST /api/orders', ['Content-Type: text/plain', 'Content-Length: 5'], 'hello')
      expect(answer.status).toBe(200)
      const chunked = ['Content-Type: text/plain', 'Transfer-Encoding: chunked']
      expect((await bed.call('POST /api/orders', chunked, '3\r\nabc\r\n0\r\n\r\n')).status).toBe(200)
      const requests = bed.seen()
      expect(requests.map(({ method }) => method)).toEqual(['POST', 'POST'])
      expect(requests[0]?.body).toBe('hello')
      expect(requests[1]?.body).toContain('abc')
    })

    it('cannot bring identities, addresses or answers of the Token Handler along', async () => {
      const forged = [
        'Authorization: Bearer forged',
        'Token-Handler-Gateway-Secret: forged',
        'Token-Handler-Error: forged',
        'Forwarded: for=forged',
        'X-Forwarded-For: 192.0.2.66',
        'X-Forwarded-Host: forged.example',
        'X-Forwarded-Proto: forged',
        'X-Forwarded-Uri: /api/forged',
        'X-Forwarded-Method: FORGED',
        'X-Original-URI: /api/forged',
        'X-Original-Method: FORGED',
        'X-Real-IP: 192.0.2.66',
        'X-User: forged',
        'X_User: forged',
        'X-Auth-Request-Email: forged',
        'Remote-User: forged',
      ]
      expect((await bed.call('GET /api/orders', forged)).status).toBe(200)
      const [request] = bed.seen()
      expect(request?.raw).not.toMatch(/forged|192\.0\.2\.66/i)
      expect(request?.raw).not.toContain(bed.ports.secret)
      expect(request?.values('authorization')).toHaveLength(1)
      expect(request?.values('token-handler-version')).toEqual([])
    })

    it('[D-HDR-02] cannot name anything in Connection that the next hop would take away', async () => {
      const connection = 'Connection: close, authorization, x-forwarded-for, Upgrade'
      const socket = bed.spaHeaders().filter((line) => !/^(?:Sec-Fetch|token-handler)/.test(line))
      expect((await bed.call('GET /api/orders', [connection])).status).toBe(200)
      const client = await openClient(bed.ports.gateway)
      client.send(rawRequest('GET /api/socket', [...socket, connection, ...handshake.slice(1)]))
      await client.receives('hi')
      client.destroy()
      const requests = bed.seen()
      expect(requests.map(({ target }) => target)).toEqual(['/api/orders', '/api/socket'])
      for (const request of requests) {
        expect(request.values('authorization')).toHaveLength(1)
        expect(request.values('connection').join()).toMatch(/^(?:keep-alive|close|upgrade)?$/i)
      }
    })

    it('[D-HDR-07] cannot bring any header along that the OAuth Proxy denies', async () => {
      // HAProxy takes about a hundred headers, ours included.
      for (let from = 0; from < deniedByGateways.length; from += 40) {
        const headers = deniedByGateways.slice(from, from + 40).map((name) => `${name}: forged`)
        expect((await bed.call('GET /api/orders', headers)).status).toBe(200)
        expect(bed.seen().map(({ raw: bytes }) => bytes.match(/^.*forged.*$/gim))).toEqual([null])
      }
      expect((await bed.call('GET /api/orders', [`Referer: ${bed.origin}/`])).status).toBe(200)
      expect(bed.seen().map(({ raw: bytes }) => /^(?:origin|referer|sec-fetch).*$/im.exec(bytes))).toEqual([null])
    })
  })

  describe('what is judged', () => {
    it('[A-13] is the original method, not that of the sub-request', async () => {
      const headers = bed.spaHeaders().filter((line) => !line.startsWith('token-handler-version'))
      const answer = await raw('POST /api/orders', [...headers, 'Content-Length: 2'], '{}')
      expect([answer.status, answer.json().code]).toEqual([403, 'missing_header'])
      const deleted = await bed.call('DELETE /api/orders')
      expect([deleted.status, deleted.json().code]).toEqual([403, 'method_not_allowed'])
      expect((await bed.call('DELETE /api/orders', ['X-HTTP-Method-Override: GET'])).status).toBe(403)
      expect(bed.seen()).toEqual([])
    })

    it.each([
      '/api//orders',
      '/api/../api/orders',
      '/api/%2e%2e/admin',
      '/api/x%2f..%2fadmin',
      '/api/x%5cadmin',
      '/api/%61dmin',
      '/api/x;/../admin',
      '/api/ADMIN%00',
      '/api/./admin',
      '/api/x/..;/admin',
    ])('is the path as it goes upstream; one with two readings does not go: %s', async (target) => {
      const answer = await bed.call(`GET ${target}`)
      expect([400, 403, 404]).toContain(answer.status)
      expect(bed.seen()).toEqual([])
    })

    it('is the policy of the route', async () => {
      const answer = await bed.call('GET /api/admin')
      expect([answer.status, answer.json().code]).toEqual([403, 'insufficient_scope'])
      expect(bed.seen()).toEqual([])
    })

    it('[A-14] is where the request comes from', async () => {
      const hostile = withoutCookie().filter((line) => !/^(?:Origin|Sec-Fetch)/.test(line))
      const cookie = bed.spaHeaders().find((line) => line.startsWith('Cookie')) ?? ''
      const evil = await raw('GET /api/orders', [...hostile, cookie, 'Origin: https://evil.test'])
      expect([evil.status, evil.json().code]).toEqual([403, 'untrusted_origin'])
      const crossSite = await raw('GET /api/orders', [...hostile, cookie, 'Sec-Fetch-Site: cross-site'])
      expect([crossSite.status, crossSite.json().code]).toEqual([403, 'cross_site'])
      expect(bed.seen()).toEqual([])
    })
  })

  it.each(['POST /oauth-agent/refresh', 'GET /api/open/x'])(
    'clients are told apart by their addresses, whatever they say themselves: %s',
    async (requestLine) => {
      const headers = [...withoutCookie(), ...(requestLine.startsWith('POST') ? ['Content-Length: 0'] : [])]
      await expectClientsToldApart({ port: bed.ports.gateway, requestLine, headers, limit: requestsPerAddress })
    },
  )

  describe('denials', () => {
    it('[D-CS-08] reach the SPA as our JSON, with CORS headers and the challenge', async () => {
      const answer = await raw('GET /api/orders', withoutCookie())
      expect([answer.status, answer.json()]).toEqual([
        401,
        { code: 'session_missing', message: 'There is no session. Log in.' },
      ])
      expect(answer.values('content-type')).toEqual(['application/json'])
      expect(answer.values('access-control-allow-origin')).toEqual([bed.origin])
      expect(answer.values('access-control-allow-credentials')).toEqual(['true'])
      expect(answer.values('www-authenticate')).toEqual(['Bearer'])
      expect(answer.values('cache-control')).toEqual(['no-store'])
      expect(answer.values('set-cookie')).toEqual([])
      expect(answer.values('location')).toEqual([])
      expect(answer.values('authorization')).toEqual([])
    })

    it('[D-CS-08] an error of the API keeps its body and gets our CORS headers, and sets no cookie', async () => {
      const answer = await bed.call('GET /api/fails')
      expect([answer.status, answer.json()]).toEqual([401, { their: 'own' }])
      expect(answer.values('access-control-allow-origin')).toEqual([bed.origin])
      expect(answer.values('set-cookie')).toEqual([])
    })

    it('[D-CS-08] have CORS headers only where there is an Origin, as admitted answers do', async () => {
      const headers = bed.spaHeaders().filter((line) => !line.startsWith('Origin'))
      const withoutSession = headers.filter((line) => !line.startsWith('Cookie'))
      for (const [status, answer] of [
        [200, await raw('GET /api/orders', headers)],
        [401, await raw('GET /api/orders', withoutSession)],
      ] as const) {
        expect(answer.status).toBe(status)
        expect(answer.headers.filter(([name]) => name.toLowerCase().startsWith('access-control-'))).toEqual([])
      }
    })

    it('preflights are answered by the Token Handler, by its routes', async () => {
      const headers = [`Host: localhost:${bed.ports.gateway}`, 'Access-Control-Request-Method: POST']
      const answer = await raw('OPTIONS /api/orders', [...headers, `Origin: ${bed.origin}`])
      expect([answer.status, answer.values('access-control-allow-methods')]).toEqual([204, ['GET, HEAD, POST']])
      const evil = await raw('OPTIONS /api/orders', [...headers, 'Origin: https://evil.test'])
      expect([evil.status, evil.values('access-control-allow-origin')]).toEqual([403, []])
      expect(bed.seen()).toEqual([])
    })
  })

  describe('streams', () => {
    it('server-sent events arrive when they are sent', async () => {
      const client = await openClient(bed.ports.gateway)
      client.send(rawRequest('GET /api/events', [...bed.spaHeaders(), 'Accept: text/event-stream']))
      await client.receives('data: 1')
      const connection = bed.api.connections.find(({ isOpen, received }) => isOpen && received.includes('/api/events'))
      connection?.socket.write('9\r\ndata: 2\n\n\r\n')
      await client.receives('data: 2')
      expect(client.received).toMatch(/^HTTP\/1\.1 200/)
      client.destroy()
      // HAProxy notices with the next event.
      await until('the API is let go', () => {
        connection?.socket.write('9\r\ndata: 3\n\n\r\n')
        return connection?.isOpen === false
      })
    })

    it('WebSockets pass both ways with the bearer token, after their Origin was judged', async () => {
      const client = await openClient(bed.ports.gateway)
      const headers = bed.spaHeaders().filter((line) => !/^(?:Sec-Fetch|token-handler)/.test(line))
      client.send(rawRequest('GET /api/socket', [...headers, ...handshake]))
      await client.receives('hi')
      expect(client.received).toMatch(/^HTTP\/1\.1 101/)
      const [request] = bed.seen()
      expect(request?.values('authorization')).toHaveLength(1)
      expect(request?.values('cookie')).toEqual(['theirs=1'])
      client.send('\x81\x82\0\0\0\0yo')
      await until('the frame arrives', () => bed.api.received().includes('\x81\x82\0\0\0\0yo'))
      client.destroy()
    })

    it('[D-SSRF-07] WebSockets from elsewhere, without Origin, or without a session do not', async () => {
      const headers = bed.spaHeaders().filter((line) => !/^(?:Sec-Fetch|token-handler|Origin)/.test(line))
      const evil = await raw('GET /api/socket', [...headers, ...handshake, 'Origin: https://evil.test'])
      expect([evil.status, evil.json().code]).toEqual([403, 'untrusted_origin'])
      const none = await raw('GET /api/socket', [...headers, ...handshake])
      expect([none.status, none.json().code]).toEqual([403, 'missing_origin'])
      const missing = await raw('GET /api/socket', [...withoutCookie(), ...handshake])
      expect([missing.status, missing.json().code]).toEqual([401, 'session_missing'])
      expect(bed.seen()).toEqual([])
    })

    it.each([
      ['without a key', ['Upgrade: websocket']],
      ['of a version in the protocol’s name', ['Upgrade: websocket/13']],
      ['among others', ['Upgrade: h2c, websocket']],
    ])('[D-SM-11] handshakes that are none do not: %s', async (_what, upgrade) => {
      const answer = await bed.call('GET /api/orders', ['Connection: Upgrade', ...upgrade])
      expect(answer.status).not.toBe(101)
      for (const request of bed.seen()) expect(request.values('upgrade')).toEqual([])
    })

    it('[D-SM-11] a handshake takes no other protocol along', async () => {
      const headers = bed.spaHeaders().filter((line) => !/^(?:Sec-Fetch|token-handler)/.test(line))
      const both = handshake.map((line) => line.replace('Upgrade: websocket', 'Upgrade: h2c, websocket'))
      await raw('GET /api/socket', [...headers, ...both])
      for (const request of bed.seen()) expect(['', 'websocket']).toContain(request.values('upgrade').join())
    })

    it('[D-SM-11] other protocols do not', async () => {
      const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']
      const answer = await bed.call('GET /api/orders', h2c)
      expect(answer.status).not.toBe(101)
      for (const request of bed.seen()) expect(request.values('upgrade')).toEqual([])
    })
  })

  describe('the addresses of the Token Handler', () => {
    it('the agent is reached, the answers of forward auth are not', async () => {
      const session = await bed.browser.call('GET', '/oauth-agent/session')
      expect([session.status, session.json()['is_logged_in']]).toEqual([200, true])
      const forged = [
        `Token-Handler-Gateway-Secret: ${bed.ports.secret}`,
        'X-Original-Method: GET',
        'X-Original-URI: /api/orders',
        `X-Original-Host: localhost:${bed.ports.gateway}`,
        'X-Forwarded-Method: GET',
        'X-Forwarded-Uri: /api/orders',
      ]
      for (const path of ['/authorize', '/_token_handler/authorize', '/api/authorize', '/oauth-agent/authorize']) {
        const answer = await bed.call(`GET ${path}`, forged)
        expect([path, answer.values('authorization'), answer.raw.includes('Bearer ey')]).toEqual([path, [], false])
        expect([path, answer.status < 500]).toEqual([path, true])
      }
      expect(bed.seen()).toEqual([])
    })

    it('who reaches the listener without the secret gets nothing', async () => {
      const answer = await exchange(
        bed.ports.forwardAuth,
        rawRequest('GET /authorize', [
          ...bed.spaHeaders(),
          'X-Original-Method: GET',
          'X-Original-URI: /api/orders',
          `X-Original-Host: localhost:${bed.ports.gateway}`,
        ]),
      )
      expect([answer.status, answer.json().code]).toEqual([403, 'untrusted_gateway'])
      expect(answer.values('authorization')).toEqual([])
      expect(answer.values('access-control-allow-origin')).toEqual([])
    })
  })

  describe('a gateway that gets no answer', () => {
    /** Another one, with ports of its own. */
    async function callThrough(changes: Partial<GatewayPorts>) {
      const port = await freePort()
      const other = await start({ ...bed.ports, ...changes, gateway: port })
      try {
        return await exchange(port, rawRequest('GET /api/orders', bed.spaHeaders()))
      } finally {
        await other.close()
      }
    }

    it('lets nothing through while the Token Handler cannot be reached', async () => {
      const answer = await callThrough({ forwardAuth: await freePort() })
      expect([answer.status, answer.json().code]).toEqual([502, 'upstream_unavailable'])
      expect(bed.seen()).toEqual([])
    })

    it('lets nothing through with a wrong secret', async () => {
      expect((await callThrough({ secret: 'wrong'.repeat(8) })).status).toBe(403)
      expect(bed.seen()).toEqual([])
    })

    it('says so in our JSON when the API cannot be reached', async () => {
      const answer = await callThrough({ api: await freePort() })
      // HAProxy answers 503 to a connection that is refused.
      expect([502, 503]).toContain(answer.status)
      expect(answer.json().code).toBe('upstream_unavailable')
      expect(answer.values('access-control-allow-origin')).toEqual([bed.origin])
    })
  })
}
