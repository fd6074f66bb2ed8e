import { afterEach, describe, expect, it } from '@jest/globals'
import type { RouteOptions } from '@token-handler/oauth-proxy'
import type { ContextFacts, ContextPolicy } from '@token-handler/shared'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { exchange, type RawAnswer } from '../support/raw-client.ts'
import { handshake, handshakeAccept } from '../support/websocket.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0'
const home = ['X-Forwarded-For: 203.0.113.7', `User-Agent: ${firefox}`]
const elsewhere = ['X-Forwarded-For: 198.51.100.7', `User-Agent: ${firefox}`]
const otherBrowser = ['X-Forwarded-For: 203.0.113.7', 'User-Agent: curl/8']
const facts: ContextFacts = { n: '203.0.113.0/24', c: 'linux desktop firefox' }

const accepted = [
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Accept: ${handshakeAccept}`,
  '',
  '',
].join('\r\n')

let proxy: ProxyUnderTest
let audit: KeptAudit
afterEach(() => proxy.close())

async function start(network: ContextPolicy, client: ContextPolicy, route: Partial<RouteOptions> = {}): Promise<void> {
  audit = keptAudit()
  proxy = await startProxy({
    audit,
    routes: [route],
    ...(route.webSocket === true ? { script: { onRequest: () => accepted } } : {}),
    options: {
      trustedProxies: ['127.0.0.1'],
      context: { network, client, prefixLengths: { ipv4: 24, ipv6: 56 } },
    },
  })
}

/** A session that is bound, and a call of it from somewhere. */
function bound(ctx: ContextFacts | undefined): (headers: readonly string[]) => Promise<RawAnswer> {
  const { cookie } = proxy.kit.session(ctx === undefined ? {} : { ctx })
  return (headers) =>
    exchange(proxy.port, proxy.bytes('GET /api/orders', headers).replace(proxy.session.cookie, cookie))
}
const changes = () => audit.events.filter(({ event }) => event === 'context_changed')

describe('a session that is bound to where its login came from', () => {
  it('does not pass from elsewhere, and the API sees nothing', async () => {
    await start('deny', 'deny')
    const call = bound(facts)
    for (const place of [elsewhere, elsewhere, otherBrowser]) {
      const answer = await call(place)
      expect([answer.status, answer.json().code]).toEqual([401, 'context_changed'])
      expect(answer.values('www-authenticate')).toEqual(['Bearer error="invalid_token"'])
      expect(answer.values('set-cookie')).toEqual([])
    }
    expect(proxy.upstream.received()).toBe('')
    expect((await call(home)).status).toBe(200)
    expect(changes()).toMatchObject([
      { outcome: 'refused', reason: 'network', route: '/api', method: 'GET', address: '198.51.100.7' },
      { outcome: 'refused', reason: 'client', details: { expected: facts.c, seen: 'other desktop other' } },
    ])
  })

  it('opens no WebSocket from elsewhere, and the API sees nothing', async () => {
    await start('deny', 'off', { webSocket: true })
    const call = bound(facts)
    const answer = await call([...elsewhere, ...handshake])
    expect([answer.status, answer.json().code]).toEqual([401, 'context_changed'])
    expect(proxy.upstream.received()).toBe('')
    expect(changes()).toMatchObject([{ outcome: 'refused', reason: 'network', route: '/api', method: 'GET' }])
    expect((await call([...home, ...handshake])).status).toBe(101)
  })

  it('that is only reported passes, and is recorded once a place', async () => {
    await start('report', 'off')
    const call = bound(facts)
    for (const place of [home, elsewhere, elsewhere, otherBrowser, elsewhere]) {
      expect((await call(place)).status).toBe(200)
    }
    expect(changes()).toMatchObject([{ outcome: 'success', reason: 'network' }])
    expect(proxy.log.filter(({ fields }) => fields['event'] === 'context_changed')).toHaveLength(1)
  })

  it('is judged by the mildest policy that is left when the other one does not differ', async () => {
    await start('deny', 'report')
    const call = bound(facts)
    expect((await call(otherBrowser)).status).toBe(200)
    expect((await call(elsewhere)).status).toBe(401)
  })

  it('is none whose cookie was sealed before the binding, by a release before this one too', async () => {
    await start('deny', 'deny')
    expect((await bound(undefined)(elsewhere)).status).toBe(200)
    expect((await bound({})(elsewhere)).status).toBe(200)
    expect(changes()).toEqual([])
  })

  it('passes from everywhere where nothing is configured, whatever the cookie says', async () => {
    await start('off', 'off')
    expect((await bound(facts)(elsewhere)).status).toBe(200)
  })
})
