import { once } from 'node:events'
import { createServer, type Server, type ServerOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createOAuthProxy,
  hardenServer,
  serverOptions,
  type OAuthProxy,
  type OAuthProxyOptions,
  type RouteOptions,
} from '@token-handler/oauth-proxy'
import { Registry, RuleSet, type AuditLog, type CookieSealer, type Ledger, type Logger } from '@token-handler/shared'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { createSessionKit, type SessionKit, type TestSession } from '../support/session-cookies.ts'
import { startUpstream, type Script, type Upstream } from '../support/upstream.ts'

export const publicOrigin = 'https://www.example.com'

export interface LogLine {
  readonly level: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** The OAuth Proxy on a socket, a recording API behind it, and a session in front. */
export interface ProxyUnderTest {
  readonly port: number
  readonly server: Server
  readonly proxy: OAuthProxy
  readonly upstream: Upstream
  readonly clock: FakeClock
  readonly rules: RuleSet
  /** For how long rules may have been missed. */
  readonly missed: { forMs: number }
  readonly kit: SessionKit
  readonly session: TestSession
  readonly log: readonly LogLine[]
  /** Header lines of a call by the SPA's script on the same origin. */
  readonly spaHeaders: readonly string[]
  /** One call by the SPA on a connection of its own; header lines are added to the usual ones. */
  readonly call: (requestLine: string, headers?: readonly string[], body?: string) => Promise<RawAnswer>
  /** The bytes of such a call. */
  readonly bytes: (requestLine: string, headers?: readonly string[], body?: string) => string
  close(): Promise<void>
}

export interface ProxySetup {
  readonly routes?: readonly Partial<RouteOptions>[]
  readonly options?: Partial<OAuthProxyOptions>
  readonly audit?: AuditLog
  readonly tokens?: Pick<Ledger, 'readToken'>
  /** Opens cookies that another sealer made. */
  readonly sealer?: CookieSealer
  readonly script?: Script
  /** Changes to the usual server options. */
  readonly server?: ServerOptions
  readonly prepare?: (server: Server) => void
  readonly registry?: Registry
}

export function routeTo(upstream: string, overrides: Partial<RouteOptions> = {}): RouteOptions {
  return {
    path: '/api',
    upstream,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    session: 'required',
    scopes: [],
    claims: {},
    acrValues: [],
    navigable: false,
    embeddable: false,
    sandbox: true,
    forwardCookies: [],
    connectTimeoutSeconds: 30,
    responseTimeoutSeconds: 30,
    idleTimeoutSeconds: 30,
    ...overrides,
  }
}

export async function startProxy({
  routes = [{}],
  options,
  audit,
  tokens,
  sealer,
  script,
  server: serverChanges,
  prepare,
  registry = new Registry(),
}: ProxySetup = {}): Promise<ProxyUnderTest> {
  const clock = fakeClock()
  const kit = createSessionKit(clock)
  const missed = { forMs: 0 }
  const rules = new RuleSet(clock, () => missed.forMs)
  const upstream = await startUpstream(script)
  const log: LogLine[] = []
  const proxy = createOAuthProxy({
    options: {
      publicOrigin,
      trustedOrigins: new Set([publicOrigin]),
      cookies: kit.settings,
      routes: routes.map((route) => routeTo(upstream.origin, route)),
      trustedProxies: [],
      ...options,
    },
    sealer: sealer ?? kit.sealer,
    rules,
    tokens,
    clock,
    logger: recordingLogger(log),
    ...(audit === undefined ? {} : { audit }),
    registry,
  })
  const server = createServer({ ...serverOptions, ...serverChanges })
  hardenServer(server)
  prepare?.(server)
  server.on('request', (req, res) => proxy.handle(req, res))
  server.on('upgrade', (req, socket, head) => proxy.upgrade(req, socket, head))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const session = kit.session()
  const spaHeaders = [
    'Host: www.example.com',
    `Cookie: ${session.cookie}`,
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    `Origin: ${publicOrigin}`,
    'token-handler-version: 1',
  ]
  const bytes = (requestLine: string, headers: readonly string[] = [], body = ''): string =>
    rawRequest(requestLine, [...spaHeaders, ...headers], body)
  return {
    port,
    server,
    proxy,
    upstream,
    clock,
    rules,
    missed,
    kit,
    session,
    log,
    spaHeaders,
    bytes,
    call: (requestLine, headers, body) =>
      exchange(port, bytes(requestLine, headers, body), { method: requestLine.split(' ')[0] ?? 'GET' }),
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await proxy.close(0)
      await upstream.close()
      await closed
    },
  }
}

function recordingLogger(lines: LogLine[]): Logger {
  const at =
    (level: string): Logger['info'] =>
    (fields) =>
      void lines.push({ level, fields })
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
