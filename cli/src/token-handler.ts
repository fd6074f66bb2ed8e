import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { dirname, resolve } from 'node:path'
import { createOAuthAgent, type OAuthAgent } from '@token-handler/oauth-agent'
import { createOAuthProxy, hardenServer, serverOptions, type OAuthProxy } from '@token-handler/oauth-proxy'
import {
  ConfigError,
  createCookieSealer,
  measureLedger,
  openAuditLog,
  openLedger,
  Registry,
  systemClock,
  type AuditLog,
  type Clock,
  type Config,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { configuredParts, createAdminServer, type Readiness } from './admin.ts'
import type { KeyRingSource } from './key-ring-file.ts'
import { addressOf, drain, listen } from './listener.ts'
import { figuresOf, readFigureMetrics } from './operations/figures.ts'
import { announcePresence } from './presence.ts'
import { createPublicServer } from './public-server.ts'
import { agentOptionsOf, proxyOptionsOf, trustedOriginsOf } from './service-options.ts'
import { exposeAudit, exposeState } from './service-metrics.ts'
import { createForwardAuthServer } from './forward-auth-server.ts'
import { createSpaHandler } from './spa.ts'
import { createSpaDevServer, type SpaDevServer } from './spa-dev-server.ts'

export interface TokenHandlerDeps {
  readonly config: Config
  /** Where the configuration came from: relative paths in it count from its folder. */
  readonly configFile?: string
  readonly keys: KeyRingSource
  readonly logger: Logger
  /** Where metrics are registered; one of its own unless given. */
  readonly registry?: Registry
  /** Run one part alone; both unless given. */
  readonly only?: 'agent' | 'proxy' | undefined
  readonly clock?: Clock
  /** The session ledger; the configured one unless given. */
  readonly ledger?: Ledger
  /** Takes down what is issued and refused; the configured one unless given. */
  readonly audit?: AuditLog
  /** Serves what neither agent nor proxy does, in place of the configured `spa`. */
  readonly spa?: RequestListener
  /** Public server that listens already, for callers that must know the port before the configuration. */
  readonly server?: Server
}

export interface RunningTokenHandler {
  readonly server: Server
  readonly adminServer: Server | undefined
  /** Where gateways ask, if forward auth is configured. */
  readonly forwardAuthServer: Server | undefined
  readonly ledger: Ledger
  /** Metrics of this Token Handler; the process's own are not in it. */
  readonly registry: Registry
  readiness(): Readiness
  /** Stops listening, lets requests and calls to the authorization server finish, then closes everything. */
  close(): Promise<void>
}

/** Of fewer than these an operator should know. */
const fewConnections = 4096

/** Composes agent, proxy and SPA on one public listener, as the configuration says, and starts to listen. */
export async function startTokenHandler(deps: TokenHandlerDeps): Promise<RunningTokenHandler> {
  const { config, configFile = '', keys, logger, only, clock = systemClock, registry = new Registry() } = deps
  const opened = deps.ledger ?? (await openLedger(config, { clock, logger, folder: dirname(configFile) }))
  const ledger = measureLedger(opened, registry, clock)
  const audit =
    deps.audit ?? openAuditLog(config, { ring: () => keys.current(), clock, logger, folder: dirname(configFile) })
  keys.onReload(({ isRight, kids }) => {
    audit.record({ event: 'keys_changed', outcome: isRight ? 'success' : 'failure', details: { kids } })
  })
  const sealer = createCookieSealer(() => keys.current(), clock, registry)
  exposeState(registry, { rules: ledger.rules, keys: () => keys.current(), clock })
  exposeAudit(registry, audit)
  const common = { sealer, clock, logger, audit, registry }
  // What no other process wrote cannot be found: better 503 than a refresh that heals nothing.
  const heldTokens = config.ledger.type === 'none' ? undefined : ledger
  const agent = only === 'proxy' ? undefined : createOAuthAgent({ ...common, options: agentOptionsOf(config), ledger })
  const proxy =
    only === 'agent'
      ? undefined
      : createOAuthProxy({
          ...common,
          options: proxyOptionsOf(config, configFile),
          rules: ledger.rules,
          tokens: heldTokens,
        })
  const devServer = configuredDevServer(config, logger)
  const spa = deps.spa ?? devServer?.handle ?? configuredSpa(config, configFile, logger)

  const server = deps.server ?? createPublicServer(config.listen, { configFile, options: serverOptions, logger })
  const { max_connections: maxConnections } = config.listen
  server.maxConnections = maxConnections
  hardenServer(server, logger, registry)
  if (server.maxConnections < maxConnections) {
    const level = server.maxConnections < fewConnections ? 'warn' : 'info'
    logger[level](
      { event: 'few_open_files', wanted: maxConnections, connections: server.maxConnections },
      'The process may open too few files for listen.max_connections: raise the limit (ulimit -n, LimitNOFILE, ulimits of a container).',
    )
  }
  const { agent_path: agentPath } = config.cookies
  const apiPaths = apiPathsOf(config)
  server.on('request', dispatch({ agent, proxy, spa, agentPath, apiPaths }))
  const ours = [agentPath, ...apiPaths]
  server.on('upgrade', (req: IncomingMessage, socket, head: Buffer) => {
    const isOurs = ours.some((path) => isUnder(req.url ?? '', path))
    if (devServer !== undefined && !isOurs) devServer.upgrade(req, socket, head)
    else if (proxy === undefined) socket.destroy()
    else proxy.upgrade(req, socket, head)
  })

  const forwardAuthServer = proxy && createForwardAuthServer(config, proxy, { configFile, logger })

  let stopping = false
  const readiness = (): Readiness => {
    const agentState = agent?.ready()
    const { rules } = ledger
    const mayServe = !rules.areStale()
    return {
      ready: !stopping && mayServe && !audit.isBlocking && (agentState?.ready ?? true),
      parts: {
        ledger: rules.staleForMs() <= rules.staleAfterMs ? 'available' : 'unavailable',
        stale_rules: rules.stalePolicy,
        ...(agentState === undefined ? {} : { authorization_server: agentState.authorizationServer }),
        ...(config.audit.sink === 'off' ? {} : { audit: auditState(audit) }),
      },
    }
  }
  const figures = async () => new Map([['process', figuresOf(await readFigureMetrics(registry))]])
  const adminParts = configuredParts(config, { ledger, audit, clock, logger, figures })
  const adminServer =
    config.admin === undefined
      ? undefined
      : createAdminServer(config.admin, {
          readiness,
          metrics: () => registry.metrics(),
          ...adminParts,
          logger,
          configFile,
        })
  agent?.start()
  if (!server.listening) await listen(server, config.listen)
  if (forwardAuthServer !== undefined && config.forward_auth !== undefined) {
    await listen(forwardAuthServer, config.forward_auth.listen)
  }
  if (adminServer !== undefined && config.admin !== undefined) await listen(adminServer, config.admin)
  const parts = only ?? 'agent and proxy'
  const kids = (): readonly string[] => keys.current().kids
  const presence = announcePresence({ ledger, parts, kids, startedAt: clock.now() })
  logger.info(
    {
      event: 'started',
      parts,
      address: addressOf(server),
      ...(adminServer === undefined ? {} : { adminAddress: addressOf(adminServer) }),
      ...(forwardAuthServer === undefined ? {} : { forwardAuthAddress: addressOf(forwardAuthServer) }),
      ledger: ledger.kind,
      staleRules: `${ledger.rules.stalePolicy} after ${ledger.rules.staleAfterMs / 1000} s`,
      kids: kids(),
    },
    'Listening.',
  )
  audit.record({ event: 'started', outcome: 'success', reason: only ?? 'all', details: { kids: keys.current().kids } })

  return {
    server,
    adminServer,
    forwardAuthServer,
    ledger,
    registry,
    readiness,
    async close() {
      presence.stop()
      adminParts.close()
      stopping = true
      proxy?.endStreams()
      devServer?.close()
      const graceMs = config.shutdown_seconds * 1000
      const servers = forwardAuthServer === undefined ? [server] : [server, forwardAuthServer]
      await Promise.all(servers.map((listener) => drain(listener, graceMs)))
      await agent?.close()
      await proxy?.close()
      await ledger.close()
      audit.record({ event: 'stopped', outcome: 'success' })
      await audit.close()
      keys.close()
      // The last, so that whoever asks meanwhile is told that this process is not ready.
      if (adminServer !== undefined) await drain(adminServer, 0)
    },
  }
}

function auditState(audit: AuditLog): 'available' | 'unavailable' {
  return audit.isBlocking || audit.counts().isFailing ? 'unavailable' : 'available'
}

interface Parts {
  readonly agent: OAuthAgent | undefined
  readonly proxy: OAuthProxy | undefined
  readonly spa: RequestListener | undefined
  readonly agentPath: string
  readonly apiPaths: readonly string[]
}

/** Where the SPA is not: all below the API path, known or not. At `/` that would be everything, so there it is the routes. */
function apiPathsOf({ cookies: { access_token_path: path }, proxy }: Config): readonly string[] {
  return path === '/' ? proxy.routes.map((route) => route.path) : [path]
}

/** The agent's path is the agent's, the API paths the proxy's, and what is left is the SPA's, where one is served. */
function dispatch({ agent, proxy, spa, agentPath, apiPaths }: Parts): RequestListener {
  return (req: IncomingMessage, res: ServerResponse) => {
    const path = req.url ?? ''
    if (agent !== undefined && isUnder(path, agentPath)) agent.handler(req, res)
    else if (spa !== undefined && !apiPaths.some((apiPath) => isUnder(path, apiPath))) {
      if (proxy === undefined) spa(req, res)
      else proxy.handle(req, res, () => spa(req, res))
    } else if (proxy !== undefined) proxy.handle(req, res)
    else if (agent !== undefined) agent.handler(req, res)
  }
}

function isUnder(target: string, path: string): boolean {
  if (!target.startsWith(path)) return false
  const next = target[path.length]
  return next === undefined || next === '/' || next === '?' || path === '/'
}

function configuredSpa(config: Config, configFile: string, logger: Logger): RequestListener | undefined {
  if (config.spa === undefined || !('root' in config.spa)) return undefined
  try {
    return createSpaHandler({
      root: resolve(dirname(configFile), config.spa.root),
      origin: config.public_url,
      callbackPath: callbackPathOf(config),
      connectOrigins: [...trustedOriginsOf(config)].filter((origin) => origin !== config.public_url),
      otherOrigins: config.spa.connect_origins,
      logger,
    })
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    const message = `must be a folder with index.html and callback.html (${code})`
    throw new ConfigError(configFile, [{ path: 'spa.root', message }])
  }
}

function configuredDevServer(config: Config, logger: Logger): SpaDevServer | undefined {
  if (config.spa === undefined || !('dev_server' in config.spa)) return undefined
  const { public_url: publicOrigin, spa } = config
  return createSpaDevServer({ target: spa.dev_server, publicOrigin, callbackPath: callbackPathOf(config), logger })
}

function callbackPathOf({ authorization_server: { redirect_uri } }: Config): string {
  return new URL(redirect_uri).pathname
}
