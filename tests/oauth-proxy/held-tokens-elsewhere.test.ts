import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { serverOptions } from '@token-handler/oauth-proxy'
import { exchange, openClient, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'
import { StagedTokens, type HeldSession } from './staged-tokens.ts'

const secret = 'canary-gateway-secret-0123456789abcdef'
const handshake = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

/** A way besides a plain request that a token takes; all of them have to judge alike. */
interface Way {
  readonly ask: (session: HeldSession) => Promise<RawAnswer>
  readonly bearer: (answer: RawAnswer) => readonly string[]
  /** Status of a refusal that is 503 elsewhere. */
  readonly unavailable: number
}

describe('an access token that the ledger holds, beside plain requests', () => {
  let proxy: ProxyUnderTest
  let tokens: StagedTokens
  let closeGatewaySide: () => Promise<void>

  const lines = ({ cookie }: HeldSession): string[] => [
    ...proxy.spaHeaders.filter((line) => !line.startsWith('Cookie')),
    `Cookie: ${cookie}`,
  ]
  let port: number
  const ways: Readonly<Record<string, Way>> = {
    'a WebSocket': {
      async ask(session) {
        const client = await openClient(proxy.port)
        client.send(rawRequest('GET /api/x', [...lines(session), ...handshake]))
        return client.answer()
      },
      bearer: () => proxy.upstream.requests.flatMap((request) => request.values('authorization')),
      unavailable: 503,
    },
    'forward auth': {
      ask: (session) =>
        exchange(
          port,
          rawRequest('GET /authorize', [
            ...lines(session),
            `Token-Handler-Gateway-Secret: ${secret}`,
            'X-Original-Method: GET',
            'X-Original-URI: /api/x',
            'X-Original-Host: www.example.com',
          ]),
        ),
      bearer: (answer) => answer.values('authorization'),
      unavailable: 403,
    },
  }

  beforeEach(async () => {
    tokens = new StagedTokens()
    proxy = await startProxy({
      tokens,
      routes: [{ webSocket: true }],
      options: {
        forwardAuth: { style: 'original', peers: ['127.0.0.1'], secrets: [secret], clientCertificate: false },
      },
    })
    const gatewaySide = createServer(serverOptions, proxy.proxy.authorize)
    gatewaySide.listen(0, '127.0.0.1')
    await once(gatewaySide, 'listening')
    ;({ port } = gatewaySide.address() as AddressInfo)
    closeGatewaySide = async () => {
      const closed = once(gatewaySide, 'close')
      gatewaySide.close()
      gatewaySide.closeAllConnections()
      await closed
    }
  })
  afterEach(async () => {
    await closeGatewaySide()
    await proxy.close()
  })

  describe.each(Object.entries(ways))('with %s', (_way, { ask, bearer, unavailable }) => {
    it('is fetched, and sent', async () => {
      const session = tokens.session(proxy.kit, 7000)
      expect(bearer(await ask(session))).toEqual([`Bearer ${session.bearer}`])
      expect(tokens.asked).toEqual([session.ref])
    })

    it('is a reason to refresh when it is not there', async () => {
      const session = tokens.session(proxy.kit)
      tokens.answer = () => ({ state: 'absent' })
      const refused = await ask(session)
      expect([refused.status, refused.json().code]).toEqual([401, 'access_token_expired'])
      expect(bearer(refused)).toEqual([])
    })

    it('is unknown, not absent, while the store is away', async () => {
      const session = tokens.session(proxy.kit)
      tokens.answer = () => ({ state: 'unknown' })
      const refused = await ask(session)
      expect([refused.status, refused.json().code]).toEqual([unavailable, 'store_unavailable'])
      expect(bearer(refused)).toEqual([])
    })

    it('is not used when the session was ended while it was fetched', async () => {
      const session = tokens.session(proxy.kit)
      const release = tokens.hold()
      const waiting = ask(session)
      await until('it is asked for', () => tokens.asked.length > 0)
      const far = proxy.clock.now() + 3_600_000
      proxy.rules.add({ key: `sid:${session.sid}`, before: Infinity, reason: 'logout', expiresAt: far })
      release()
      const refused = await waiting
      expect([refused.status, refused.json().code]).toEqual([401, 'session_ended'])
      expect(bearer(refused)).toEqual([])
    })

    it('is not asked for where the guards refuse', async () => {
      const session = tokens.session(proxy.kit)
      const strange = { ...session, cookie: `${session.cookie}\r\nOrigin: https://evil.test` }
      const refused = await ask(strange)
      expect(refused.status).toBeGreaterThanOrEqual(400)
      expect(tokens.asked).toEqual([])
    })
  })
})
