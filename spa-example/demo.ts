import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { serverOptions } from '@token-handler/oauth-proxy'
import { checkConfig, generateKeyFile, type Clock, type ConfigInput, type Logger } from '@token-handler/shared'
import { startExampleApi } from './api/server.ts'
import { startAuthorizationServer, type AuthorizationServer } from './authorization-server/server.ts'

export interface DemoOptions {
  /** Ports; 0 takes a free one. */
  readonly ports: {
    readonly web: number
    readonly authorizationServer: number
    readonly api: number
    readonly admin: number
  }
  /** The SPA: a built folder, or a handler such as Vite's development server. */
  readonly spa: { readonly root: string } | { readonly handler: (server: Server) => Promise<RequestListener> }
  readonly logger: Logger
  readonly clock?: Clock
  /** Changes to the demo's configuration. */
  readonly configure?: (config: ConfigInput) => ConfigInput
  readonly accessTokenLifetimeSeconds?: number
}

export interface Demo {
  /** Where the browser goes, such as `http://localhost:3000`. */
  readonly url: string
  readonly authorizationServer: AuthorizationServer
  readonly api: Awaited<ReturnType<typeof startExampleApi>>
  readonly tokenHandler: RunningTokenHandler
  readonly adminUrl: string
  close(): Promise<void>
}

/**
 * Everything on this machine: authorization server, example API, agent, proxy and SPA. The authorization server is on
 * another site (127.0.0.1, not localhost), so that the redirect back is cross-site as in life. Keys and client secrets
 * are made at each start.
 */
export async function startDemo({
  ports,
  spa,
  logger,
  clock,
  configure,
  accessTokenLifetimeSeconds,
}: DemoOptions): Promise<Demo> {
  // The public port is part of the redirect URI, so it must be known before the authorization server starts.
  const server = createServer(serverOptions)
  await listen(server, ports.web, '127.0.0.1')
  const url = `http://localhost:${(server.address() as AddressInfo).port}`
  const opened: { close(): Promise<void> }[] = [{ close: () => closeServer(server) }]
  try {
    const apiAudience = 'https://api.example.com'
    const authorizationServer = await startAuthorizationServer({
      port: ports.authorizationServer,
      clients: { redirectUris: [`${url}/callback`], postLogoutRedirectUris: [`${url}/`] },
      apiAudience,
      ...(accessTokenLifetimeSeconds === undefined ? {} : { accessTokenLifetimeSeconds }),
      logger,
    })
    opened.push(authorizationServer)
    const api = await startExampleApi({
      host: '127.0.0.1',
      port: ports.api,
      issuer: authorizationServer.issuer,
      audience: apiAudience,
    })
    opened.push(api)

    const { clientId, clientSecret } = authorizationServer.clients.secret
    const input: ConfigInput = {
      public_url: url,
      admin: { port: ports.admin },
      shutdown_seconds: 1,
      authorization_server: {
        issuer: authorizationServer.issuer,
        client_id: clientId,
        client_authentication: { method: 'client_secret_basic', client_secret: clientSecret },
        redirect_uri: `${url}/callback`,
        post_logout_redirect_uri: `${url}/`,
        scope: 'openid profile email orders:read orders:write',
      },
      agent: { detailed_errors: true },
      keys: { file: '(made at each start)' },
      proxy: {
        routes: [
          { path: '/api/orders', upstream: api.url, methods: ['GET', 'HEAD', 'POST'], scopes: ['orders:read'] },
          { path: '/api/me', upstream: api.url, methods: ['GET', 'HEAD'] },
        ],
      },
      ...('root' in spa ? { spa } : {}),
    }
    const config = checkConfig(configure?.(input) ?? input)
    const tokenHandler = await startTokenHandler({
      config,
      keys: fixedKeys(generateKeyFile(new Date()), { issuer: config.authorization_server.issuer, clientId }),
      logger,
      server,
      ...(clock === undefined ? {} : { clock }),
      ...('handler' in spa ? { spa: await spa.handler(server) } : {}),
    })
    opened[0] = tokenHandler
    const admin = tokenHandler.adminServer?.address() as AddressInfo
    return {
      url,
      authorizationServer,
      api,
      tokenHandler,
      adminUrl: `http://127.0.0.1:${admin.port}`,
      close: () => closeAll(opened),
    }
  } catch (error) {
    await closeAll(opened)
    throw error
  }
}

async function closeAll(opened: readonly { close(): Promise<void> }[]): Promise<void> {
  await Promise.all(opened.map((part) => part.close()))
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}
