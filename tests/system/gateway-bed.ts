import { randomBytes } from 'node:crypto'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { silentLogger, type Gateway } from '@token-handler/shared'
import { startDemo, type Demo } from '../../spa-example/demo.ts'
import { freePort } from '../support/free-port.ts'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { answerText, startUpstream, type RecordedRequest, type Upstream } from '../support/upstream.ts'

/** Ports that a recipe names, and what stands for them. */
export interface GatewayPorts {
  /** Where the gateway listens. */
  readonly gateway: number
  /** For 3000, 3002 and 3200 of the recipes. */
  readonly tokenHandler: number
  readonly forwardAuth: number
  readonly api: number
  readonly secret: string
}

export interface RunningGateway {
  log(): string
  close(): Promise<void>
}

/** More than a client of the contract needs; each of agent and proxy serves one address so often. */
export const requestsPerAddress = 150

/** A gateway with our recipe between a browser that is logged in and an API that records every byte. */
export interface GatewayBed {
  readonly origin: string
  readonly ports: GatewayPorts
  readonly demo: Demo
  readonly api: Upstream
  readonly browser: SessionBrowser
  readonly gateway: RunningGateway
  /** Header lines of a call by the SPA's script. */
  readonly spaHeaders: () => string[]
  /** One call by the SPA; header lines are added to the usual ones. */
  readonly call: (requestLine: string, headers?: readonly string[], body?: string) => Promise<RawAnswer>
  /** What the API got since the last look. */
  readonly seen: () => RecordedRequest[]
  close(): Promise<void>
}

export async function startGatewayBed(
  gateway: Gateway,
  start: (ports: GatewayPorts) => Promise<RunningGateway>,
): Promise<GatewayBed> {
  const port = await freePort()
  const origin = `http://localhost:${port}`
  const secret = randomBytes(32).toString('base64url')
  const api = await startUpstream({ onRequest: answerAs })
  const demo = await startDemo({
    ports: { web: 0, authorizationServer: 0, api: 0, admin: 0 },
    spa: { handler: async () => (_req, res) => res.end() },
    logger: silentLogger,
    publicOrigin: origin,
    configure: (config) => ({
      ...config,
      forward_auth: { gateway, listen: { port: 0 }, gateway_secret: secret },
      agent: { rate_limit: { requests: requestsPerAddress, window_seconds: 3600 } },
      proxy: {
        trusted_proxies: ['127.0.0.1'],
        rate_limit: { per_address: { requests: requestsPerAddress, window_seconds: 3600 } },
        routes: [
          {
            path: '/api',
            upstream: api.origin,
            methods: ['GET', 'HEAD', 'POST'],
            forward_cookies: ['theirs'],
            websocket: true,
          },
          { path: '/api/open', upstream: api.origin, session: 'none' },
          { path: '/api/admin', upstream: api.origin, scopes: ['admin'] },
        ],
      },
    }),
  })
  const ports: GatewayPorts = {
    gateway: port,
    tokenHandler: portOf(demo.tokenHandler.server),
    forwardAuth: portOf(demo.tokenHandler.forwardAuthServer),
    api: api.port,
    secret,
  }
  const running = await start(ports)
  const browser = new SessionBrowser(origin)
  const spaHeaders = (): string[] => [
    `Host: localhost:${port}`,
    `Cookie: ${browser.jar.header(`${origin}/api/x`)}; theirs=1; other=2`,
    `Origin: ${origin}`,
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    'token-handler-version: 1',
  ]
  let looked = 0
  return {
    origin,
    ports,
    demo,
    api,
    browser,
    gateway: running,
    spaHeaders,
    call: (requestLine, headers = [], body = '') =>
      exchange(port, rawRequest(requestLine, [...spaHeaders(), ...headers], body), {
        method: requestLine.split(' ')[0] ?? 'GET',
      }),
    seen: () => {
      const requests = api.requests.slice(looked)
      looked = api.requests.length
      return requests
    },
    async close() {
      await running.close()
      await demo.close()
      await api.close()
    },
  }
}

const cors = ['Access-Control-Allow-Origin: *', 'Set-Cookie: from-the-api=1; Path=/']

function portOf(server: Server | undefined): number {
  if (server === undefined) throw new Error('there is no such listener')
  return (server.address() as AddressInfo).port
}

function answerAs(request: RecordedRequest): string {
  const { target } = request
  if (request.values('upgrade').length > 0) return handshake
  if (target === '/api/events') {
    return 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n'
  }
  if (target === '/api/fails') return answerText('{"their":"own"}', { status: '401 Unauthorized', headers: cors })
  return answerText('{"ok":true}', { headers: ['Content-Type: application/json', ...cors] })
}

/** An answer to the key `dGhlIHNhbXBsZSBub25jZQ==` of RFC 6455 section 1.3, and the text frame `hi`. */
const handshake = [
  'HTTP/1.1 101 Switching Protocols',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
  '',
  '\x81\x02hi',
].join('\r\n')
