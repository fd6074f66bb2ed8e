import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { checkConfig, generateKeyFile, systemClock, type KeyFile } from '@token-handler/shared'
import { keptLog, type KeptLog } from '../support/kept-log.ts'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { context, createSessionKit } from '../support/session-cookies.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const origin = 'http://localhost:3000'

describe('limits of the configuration file', () => {
  let running: RunningTokenHandler
  let upstream: Upstream
  let log: KeptLog
  afterEach(async () => {
    await running.close()
    await upstream.close()
  })

  /** @param sessionKeys Those of the sessions that the API asks for; without them it asks for none. */
  async function start(
    settings: { readonly agent?: object; readonly proxy?: object },
    sessionKeys?: KeyFile,
  ): Promise<void> {
    upstream = await startUpstream()
    log = keptLog()
    running = await startTokenHandler({
      config: checkConfig({
        public_url: origin,
        listen: { port: 0 },
        authorization_server: {
          issuer: context.issuer,
          client_id: context.clientId,
          client_authentication: { method: 'client_secret_basic', client_secret: 'a client secret' },
          redirect_uri: `${origin}/callback`,
        },
        keys: { file: 'keys.json' },
        ledger: { type: 'memory' },
        audit: { sink: 'off' },
        shutdown_seconds: 0,
        ...settings,
        proxy: {
          routes: [
            { path: '/api', upstream: upstream.origin, session: sessionKeys === undefined ? 'none' : 'required' },
          ],
          ...settings.proxy,
        },
      }),
      keys: fixedKeys(sessionKeys ?? generateKeyFile(new Date()), context),
      logger: log.logger,
    })
  }
  const send = (bytes: string): Promise<RawAnswer> => exchange((running.server.address() as AddressInfo).port, bytes)
  const call = (requestLine: string, ...headers: string[]): Promise<RawAnswer> =>
    send(rawRequest(requestLine, ['Host: localhost:3000', 'token-handler-version: 1', `Origin: ${origin}`, ...headers]))
  async function statuses(...requests: readonly Parameters<typeof call>[]): Promise<number[]> {
    const found: number[] = []
    for (const request of requests) found.push((await call(...request)).status)
    return found
  }

  it('hold for the agent, by the addresses that a trusted proxy tells', async () => {
    await start({ agent: { rate_limit: { requests: 1 } }, proxy: { trusted_proxies: ['127.0.0.1'] } })
    const from = (address: string): Parameters<typeof call> => [
      'POST /oauth-agent/refresh',
      'Content-Length: 0',
      `X-Forwarded-For: ${address}`,
    ]
    expect(await statuses(from('192.0.2.1'), from('192.0.2.1'), from('192.0.2.2'))).toEqual([401, 429, 401])
  })

  it('can be lifted from the agent', async () => {
    await start({ agent: { rate_limit: { requests: 1, enabled: false } } })
    const refresh: Parameters<typeof call> = ['POST /oauth-agent/refresh', 'Content-Length: 0']
    expect(await statuses(refresh, refresh, refresh)).toEqual([401, 401, 401])
  })

  it('hold for the proxy', async () => {
    await start({ proxy: { rate_limit: { per_address: { requests: 2, window_seconds: 3600 } } } })
    const get: Parameters<typeof call> = ['GET /api/x']
    expect(await statuses(get, get, get)).toEqual([200, 200, 429])
  })

  it('[D-LIM-07] are not those of the authorization server: while it is away, APIs answer who has a token', async () => {
    const kit = createSessionKit(systemClock)
    await start({}, kit.keyFile)
    await until('it is known to be away', () => log.events().includes('discovery_failed'))
    const { cookie, accessToken } = kit.session()
    expect((await call('GET /api/x', `Cookie: ${cookie}`)).status).toBe(200)
    expect(upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${accessToken}`])
  })

  it('keep the headers from an API that are listed', async () => {
    await start({ proxy: { identity_headers: ['X-Tenant-*'] } })
    expect((await call('GET /api/x', 'X-Tenant-Id: 7', 'X-Other: 7')).status).toBe(200)
    expect(upstream.received()).toMatch(/x-other: 7/i)
    expect(upstream.received()).not.toMatch(/tenant/i)
  })

  it('bound how many requests wait for one API', async () => {
    await start({ proxy: { max_waiting_requests: 1 } })
    upstream.script = { onRequest: () => undefined }
    const waiting = call('GET /api/wait')
    await until('the request', () => upstream.requests.length === 1)
    expect((await call('GET /api/x')).json().code).toBe('upstream_overloaded')
    await upstream.close()
    expect((await waiting).status).toBe(502)
  })

  it('of the server itself leave a line in the log', async () => {
    await start({})
    expect((await send('no HTTP\r\n\r\n')).status).toBe(400)
    expect(log.events()).toContain('request_refused')
  })
})
