import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createOAuthAgent,
  type ClientAuthentication,
  type OAuthAgent,
  type OAuthAgentOptions,
} from '@token-handler/oauth-agent'
import {
  buildKeyRing,
  createCookieSealer,
  createLogger,
  createMemoryLedger,
  generateKeyFile,
  Registry,
  systemClock,
  type AuditLog,
  type Clock,
  type CookieSealer,
  type KeyFile,
  type Ledger,
} from '@token-handler/shared'
import { CookieJar } from '../support/cookie-jar.ts'

export const redirectUri = 'http://localhost:3000/callback'
export const postLogoutRedirectUri = 'http://localhost:3000/'
export const trustedOrigin = 'http://localhost:3000'
export const apiAudience = 'https://api.example.test'

/** What a test may decide about its agent. */
export interface AgentSetup {
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication: ClientAuthentication
  readonly clock?: Clock
  readonly ledger?: Ledger
  readonly keys?: KeyFile
  readonly publicOrigin?: string
  readonly authorizationServer?: Partial<OAuthAgentOptions['authorizationServer']>
  readonly cookies?: Partial<OAuthAgentOptions['cookies']>
  readonly session?: Partial<OAuthAgentOptions['session']>
  readonly options?: Partial<OAuthAgentOptions>
  readonly audit?: AuditLog
}

export interface RunningAgent {
  readonly agent: OAuthAgent
  readonly server: Server
  /** Base URL of the agent, with a slash at its end. */
  readonly url: URL
  readonly ledger: Ledger
  readonly sealer: CookieSealer
  readonly registry: Registry
  readonly options: OAuthAgentOptions
  /** Everything logged so far. */
  readonly log: () => string
  readonly events: () => string[]
  /** A browser on the SPA's page. */
  browser(jar?: CookieJar): Browser
  close(): Promise<void>
}

/** Starts an agent as a listener of its own on a free port of localhost. */
export async function startAgent(setup: AgentSetup): Promise<RunningAgent> {
  const { clock = systemClock, ledger = createMemoryLedger(clock), keys = generateKeyFile(new Date()) } = setup
  const options: OAuthAgentOptions = {
    publicOrigin: setup.publicOrigin ?? 'http://localhost:3000',
    trustedOrigins: new Set([trustedOrigin]),
    basePath: '/oauth-agent',
    cookies: {
      prefix: 'th',
      accessTokenPath: '/api',
      agentPath: '/oauth-agent',
      persistent: true,
      headerBudgetBytes: 7168,
      responseBudgetBytes: 3891,
      ...setup.cookies,
    },
    session: {
      absoluteSeconds: 43_200,
      idleSeconds: 3600,
      accessCookieSeconds: 900,
      accessTokenSeconds: 300,
      ...setup.session,
    },
    authorizationParameters: [],
    refreshParameters: [],
    idTokenClaims: ['sub', 'name', 'preferred_username', 'email', 'auth_time', 'acr'],
    routeClaims: [],
    detailedErrors: false,
    logout: { idTokenHint: false },
    onSuperseded: 'refuse',
    ...setup.options,
    authorizationServer: {
      issuer: setup.issuer,
      clientId: setup.clientId,
      clientAuthentication: setup.clientAuthentication,
      redirectUri,
      postLogoutRedirectUri,
      scope: 'openid profile email',
      resource: [],
      idTokenAlgorithms: ['RS256', 'ES256'],
      requireIss: false,
      pushedAuthorizationRequests: 'auto',
      timeoutSeconds: 10,
      clockSkewSeconds: 30,
      ...setup.authorizationServer,
    },
  }
  const context = { issuer: setup.issuer, clientId: setup.clientId }
  const ring = buildKeyRing(keys, context)
  const sealer = createCookieSealer(() => ring, clock)
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  const registry = new Registry()
  const agent = createOAuthAgent({
    options,
    sealer,
    ledger,
    clock,
    logger,
    registry,
    ...(setup.audit === undefined ? {} : { audit: setup.audit }),
  })
  const server = createServer(agent.handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`http://localhost:${port}${options.basePath}/`)
  return {
    agent,
    server,
    url,
    ledger,
    sealer,
    registry,
    options,
    log: () => lines.join(''),
    events: () => lines.map((line) => String((JSON.parse(line) as { event?: unknown }).event)),
    browser: (jar = new CookieJar({ now: () => clock.now() })) => new Browser(url, jar),
    async close() {
      server.close()
      server.closeAllConnections()
      await agent.close()
    },
  }
}

export interface AgentAnswer {
  readonly status: number
  readonly headers: Headers
  readonly setCookies: readonly string[]
  readonly text: string
  readonly json: Readonly<Record<string, unknown>>
}

type Fields = string | URLSearchParams | Readonly<Record<string, string>>

/** The SPA's calls, from a browser that keeps cookies as browsers do. */
export class Browser {
  readonly jar: CookieJar
  readonly #url: URL

  constructor(url: URL, jar: CookieJar) {
    this.#url = url
    this.jar = jar
  }

  get(path: string, headers: Record<string, string> = {}): Promise<AgentAnswer> {
    return this.send('GET', path, undefined, headers)
  }

  post(path: string, fields?: Fields, headers: Record<string, string> = {}): Promise<AgentAnswer> {
    return this.send('POST', path, fields, headers)
  }

  async send(
    method: string,
    path: string,
    fields?: Fields,
    headers: Record<string, string> = {},
  ): Promise<AgentAnswer> {
    const url = new URL(path, this.#url)
    const cookie = this.jar.header(url)
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        'token-handler-version': '1',
        origin: trustedOrigin,
        ...(cookie === '' ? {} : { cookie }),
        ...headers,
      },
      ...(fields === undefined ? {} : { body: typeof fields === 'string' ? fields : new URLSearchParams(fields) }),
    })
    const setCookies = response.headers.getSetCookie()
    this.jar.store(url, setCookies)
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      setCookies,
      text,
      json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    }
  }
}
