import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createOAuthAgent } from '@token-handler/oauth-agent'
import { createOAuthProxy, hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import {
  buildKeyRing,
  createCookieSealer,
  createLogger,
  identityHash,
  loadKeyFile,
  openSqliteLedger,
  systemClock,
  type Logger,
} from '@token-handler/shared'
import express from 'express'

/** What differs between environments. */
export interface Settings {
  /** Origin of the SPA, and of this application. */
  readonly publicOrigin: string
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope: string
  /** Made by `token-handler keys generate`. */
  readonly keyFile: string
  /** On a disk of this machine; its folder must exist. */
  readonly ledgerFile: string
  /** Origin of the API. */
  readonly api: string
  readonly port: number
  readonly logger?: Logger
}

/** An Express application with an OAuth Agent and an OAuth Proxy in it. */
export async function startApplication(settings: Settings): Promise<{ server: Server; close(): Promise<void> }> {
  const { publicOrigin, issuer, clientId, logger = createLogger('info') } = settings
  const clock = systemClock

  // 1. Keys: the ring derives one for each purpose, and the sealer seals and opens cookies with them.
  const ring = buildKeyRing(loadKeyFile(settings.keyFile), { issuer, clientId })
  const sealer = createCookieSealer(() => ring, clock)

  // 2. The ledger: sessions, and the rules that end them. Agent and proxy share it.
  const clientHash = identityHash(issuer, clientId)
  const ledger = await openSqliteLedger({ path: settings.ledgerFile, clock, logger, rules: { clientHash } })

  // 3. What agent and proxy must not see differently.
  const common = { sealer, clock, logger }
  const site = {
    publicOrigin,
    trustedOrigins: new Set([publicOrigin]),
    // Reverse proxies in front, whose X-Forwarded-For counts.
    trustedProxies: [],
    cookies: {
      prefix: 'th',
      accessTokenPath: '/api',
      agentPath: '/oauth-agent',
      persistent: true,
      headerBudgetBytes: 7168,
      responseBudgetBytes: 3328,
    },
  }
  const absoluteSeconds = 43_200

  // 4. The agent: everything below /oauth-agent.
  const agent = createOAuthAgent({
    ...common,
    ledger,
    options: {
      ...site,
      basePath: site.cookies.agentPath,
      authorizationServer: {
        issuer,
        clientId,
        clientAuthentication: { method: 'client_secret_basic', clientSecret: settings.clientSecret },
        redirectUri: `${publicOrigin}/callback`,
        scope: settings.scope,
        resource: [],
        idTokenAlgorithms: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
        requireIss: false,
        pushedAuthorizationRequests: 'auto',
        timeoutSeconds: 45,
        clockSkewSeconds: 30,
      },
      session: { absoluteSeconds, idleSeconds: 3600, accessCookieSeconds: 900, accessTokenSeconds: 300 },
      authorizationParameters: [],
      refreshParameters: [],
      idTokenClaims: ['sub', 'name', 'email'],
      routeClaims: [],
      detailedErrors: false,
      logout: { idTokenHint: false },
      onSuperseded: 'refuse',
      rateLimit: { requests: 6000, windowSeconds: 60 },
    },
  })

  // 5. The proxy: the routes, and nothing else.
  const proxy = createOAuthProxy({
    ...common,
    rules: ledger.rules,
    options: {
      ...site,
      absoluteSeconds,
      routes: [
        {
          path: '/api',
          upstream: settings.api,
          methods: ['GET', 'HEAD', 'POST'],
          session: 'required',
          scopes: [],
          claims: {},
          acrValues: [],
          navigable: false,
          embeddable: false,
          sandbox: true,
          webSocket: true,
          forwardCookies: [],
          connectTimeoutSeconds: 5,
          responseTimeoutSeconds: 60,
          idleTimeoutSeconds: 300,
        },
      ],
    },
  })

  // 6. Both before body parsers and sessions of others; what is theirs never reaches the rest.
  const app = express()
  app.use(agent.handler)
  app.use((req, res, next) => proxy.handle(req, res, next))
  app.get('/health', (_req, res) => void res.json({ ready: agent.ready().ready && !ledger.rules.areStale() }))

  // 7. WebSockets are upgrades of the server: Express does not see them.
  const server = createServer(serverOptions, app)
  hardenServer(server, logger)
  server.on('upgrade', (req, socket, head: Buffer) => proxy.upgrade(req, socket, head))

  agent.start()
  server.listen(settings.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    server,
    async close() {
      // Streams would go on for as long as they like, so they are ended first.
      proxy.endStreams()
      const closed = once(server, 'close')
      server.close()
      await proxy.close()
      server.closeAllConnections()
      await closed
      await agent.close()
      await ledger.close()
    },
  }
}
