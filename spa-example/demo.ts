import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSpaHandler, fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { hardenServer } from '@token-handler/oauth-proxy'
import {
  checkConfig,
  createMemoryLedger,
  generateKeyFile,
  systemClock,
  type Clock,
  type ConfigInput,
  type KeyFile,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { startExampleApi, type ExampleApi } from './api/server.ts'
import { ACR_CONFIRMED } from './authorization-server/authentication-context.ts'
import { startAuthorizationServer, type AuthorizationServer } from './authorization-server/server.ts'
import { startStorage, type Storage } from './storage.ts'
import { openTopology, type Topology, type TopologyName } from './topology.ts'

export interface DemoOptions {
  /** Ports; 0 takes a free one. */
  readonly ports: {
    readonly web: number
    readonly authorizationServer: number
    readonly api: number
    readonly admin: number
    /** Default 0. */
    readonly storage?: number
    /** Agent and proxy in the `cross-origin` topology. Default 0. */
    readonly gateway?: number
  }
  /**
   * `same-origin` (default): SPA, agent and proxy on `http://localhost`. `cross-origin`: the SPA on
   * `https://www.example.localhost`, agent and proxy on `https://api.example.localhost`, which is the same site.
   */
  readonly topology?: TopologyName
  /** Origin of the `same-origin` topology where a reverse proxy stands in front of it. */
  readonly publicOrigin?: string
  /** Where the certificates of `cross-origin` are kept. Default: a folder that lives as long as the demo. */
  readonly certificateFolder?: string
  /** The SPA: a built folder, the origin of a development server, or a handler. */
  readonly spa:
    | { readonly root: string }
    | { readonly dev_server: string }
    | { readonly handler: (server: Server) => Promise<RequestListener> }
  readonly logger: Logger
  readonly clock?: Clock
  /** Keys of the cookies. Default: made at each start. */
  readonly keys?: KeyFile
  /** Default: one in memory. */
  readonly ledger?: Ledger
  /** Changes to the demo's configuration. */
  readonly configure?: (config: ConfigInput) => ConfigInput
  readonly accessTokenLifetimeSeconds?: number
  /** `aud` of the access tokens, an absolute URI; a long one makes long tokens. */
  readonly apiAudience?: string
  /** Default `127.0.0.1`; `localhost` puts the authorization server on the site of a `same-origin` SPA. */
  readonly authorizationServerHost?: '127.0.0.1' | 'localhost'
}

export interface Demo {
  /** Where the browser goes, such as `http://localhost:3000`. */
  readonly url: string
  /** Origin of agent and proxy; `url` unless the topology is `cross-origin`. */
  readonly backendUrl: string
  /** PEM file of the authority that browsers must trust, in the `cross-origin` topology. */
  readonly authorityFile: string | undefined
  readonly authorizationServer: AuthorizationServer
  readonly api: ExampleApi
  readonly storage: Storage
  readonly tokenHandler: RunningTokenHandler
  readonly adminUrl: string
  /** Opens the operations page and the admin API; made at each start. */
  readonly adminKey: string
  close(): Promise<void>
}

/**
 * Everything on this machine: authorization server, example API, storage, agent, proxy and SPA. The authorization server is on
 * another site (127.0.0.1, not localhost), so that the redirect back is cross-site as in life. Keys and client secrets
 * are made at each start.
 */
export async function startDemo(options: DemoOptions): Promise<Demo> {
  const {
    ports,
    logger,
    clock,
    keys = generateKeyFile(new Date()),
    accessTokenLifetimeSeconds,
    apiAudience = 'https://api.example.com',
  } = options
  const scratch = mkdtempSync(join(tmpdir(), 'token-handler-demo-'))
  const opened: { close(): unknown }[] = [{ close: () => rmSync(scratch, { recursive: true }) }]
  try {
    const topology = await openTopology({
      name: options.topology ?? 'same-origin',
      ports: { web: ports.web, gateway: ports.gateway ?? 0 },
      publicOrigin: options.publicOrigin,
      certificateFolder: options.certificateFolder ?? scratch,
      logger,
    })
    opened.push(topology)
    const { spaOrigin: url, backendOrigin: backendUrl } = topology
    const authorizationServer = await startAuthorizationServer({
      host: options.authorizationServerHost ?? '127.0.0.1',
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
    const storage = await startStorage({
      port: ports.storage ?? 0,
      folder: join(scratch, 'storage'),
      allowedOrigin: url,
    })
    opened.push(storage)

    const isOneServer = topology.spaServer === topology.backendServer
    const adminKey = randomBytes(32).toString('base64url')
    const input: ConfigInput = {
      ...demoConfig(topology, { authorizationServer, api, storage, adminPort: ports.admin, adminKey }),
      ...(isOneServer && 'root' in options.spa ? { spa: { ...options.spa, connect_origins: [storage.url] } } : {}),
      ...(isOneServer && 'dev_server' in options.spa ? { spa: options.spa } : {}),
    }
    const config = checkConfig(options.configure?.(input) ?? input)
    const spa = input.spa === undefined ? await spaHandler(options, topology, storage) : undefined
    if (spa !== undefined && !isOneServer) {
      hardenServer(topology.spaServer)
      topology.spaServer.on('request', spa)
    }
    const { issuer, client_id: clientId } = config.authorization_server
    const tokenHandler = await startTokenHandler({
      config,
      keys: fixedKeys(keys, { issuer, clientId }),
      logger,
      server: topology.backendServer,
      ledger: options.ledger ?? createMemoryLedger(clock ?? systemClock),
      ...(clock === undefined ? {} : { clock }),
      ...(spa !== undefined && isOneServer ? { spa } : {}),
    })
    opened.push(tokenHandler)
    const admin = tokenHandler.adminServer?.address() as AddressInfo
    return {
      url,
      backendUrl,
      authorityFile: topology.authorityFile,
      authorizationServer,
      api,
      storage,
      tokenHandler,
      adminUrl: `http://127.0.0.1:${admin.port}`,
      adminKey,
      close: () => closeAll(opened),
    }
  } catch (error) {
    await closeAll(opened)
    throw error
  }
}

interface DemoServers {
  readonly authorizationServer: AuthorizationServer
  readonly api: ExampleApi
  readonly storage: Storage
  readonly adminPort: number
  readonly adminKey: string
}

function demoConfig(
  { spaOrigin, backendOrigin }: Topology,
  { authorizationServer, api, storage, adminPort, adminKey }: DemoServers,
): ConfigInput {
  const { clientId, clientSecret } = authorizationServer.clients.secret
  return {
    public_url: backendOrigin,
    trusted_origins: [spaOrigin],
    admin: { port: adminPort, keys: { demo: adminKey } },
    shutdown_seconds: 1,
    authorization_server: {
      issuer: authorizationServer.issuer,
      client_id: clientId,
      client_authentication: { method: 'client_secret_basic', client_secret: clientSecret },
      redirect_uri: `${spaOrigin}/callback`,
      post_logout_redirect_uri: `${spaOrigin}/`,
      scope: 'openid profile email orders:read orders:write',
    },
    agent: { detailed_errors: true },
    audit: { sink: 'off' },
    keys: { file: '(made at each start)' },
    capabilities: storageCapabilities(storage),
    proxy: {
      routes: [
        { path: '/api/orders', upstream: api.url, methods: ['GET', 'HEAD', 'POST'], scopes: ['orders:read'] },
        { path: '/api/me', upstream: api.url, methods: ['GET', 'HEAD'] },
        { path: '/api/events', upstream: api.url, methods: ['GET'], scopes: ['orders:read'] },
        { path: '/api/feed', upstream: api.url, methods: ['GET'], scopes: ['orders:read'], websocket: true },
        {
          path: '/api/cancellations',
          upstream: api.url,
          methods: ['PUT'],
          scopes: ['orders:write'],
          acr_values: [ACR_CONFIRMED],
          max_age: 900,
        },
      ],
    },
  }
}

/** Every user has a folder; the browser fills in no more than the name of the file. */
function storageCapabilities({ url, bucket }: Storage): NonNullable<ConfigInput['capabilities']> {
  const object = {
    kind: 's3-presigned',
    bucket,
    key: 'uploads/{sub}/{file}',
    endpoint: url,
    region: 'us-east-1',
    force_path_style: true,
    ttl_seconds: 60,
  } as const
  return [
    {
      ...object,
      name: 'uploads',
      operation: 'PUT',
      scopes: ['orders:write'],
      content_types: ['image/*', 'text/plain', 'text/csv', 'application/pdf', 'application/zip', 'application/json'],
      max_bytes: 64 * 1024 ** 2,
    },
    { ...object, name: 'downloads', operation: 'GET', scopes: ['orders:read'] },
  ]
}

async function spaHandler(
  { spa, logger }: DemoOptions,
  { spaOrigin, backendOrigin, spaServer }: Topology,
  storage: Storage,
): Promise<RequestListener> {
  if ('handler' in spa) return spa.handler(spaServer)
  if (!('root' in spa)) throw new Error('a development server is for the same-origin topology only')
  return createSpaHandler({
    root: spa.root,
    origin: spaOrigin,
    callbackPath: '/callback',
    connectOrigins: [backendOrigin],
    otherOrigins: [storage.url],
    agentUrl: `${backendOrigin}/oauth-agent`,
    logger,
  })
}

/** The last first: what is asked goes before what answers. */
async function closeAll(opened: readonly { close(): unknown }[]): Promise<void> {
  for (const part of opened.toReversed()) await part.close()
}
