import type { IncomingMessage, Server } from 'node:http'
import { describeError, type AuditLog, type Clock, type Config, type Ledger, type Logger } from '@token-handler/shared'
import { createAdminApi, type AdminAnswer } from './admin/api.ts'
import { createAuthentication, createKeyHolders } from './admin/authentication.ts'
import type { FiguresByProcess } from './operations/figures.ts'
import { createOperations, type Operations } from './operations/operations.ts'
import { createPublicServer } from './public-server.ts'

export interface Readiness {
  readonly ready: boolean
  /** What each part says of itself, such as `{ authorization_server: 'unavailable' }`. */
  readonly parts: Readonly<Record<string, string>>
}

export interface AdminServerDeps {
  readonly readiness: () => Readiness
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>
  /** The API under /admin/; none unless given. */
  readonly api?: ((req: IncomingMessage) => Promise<AdminAnswer> | undefined) | undefined
  /** The page under /operations; none unless given. */
  readonly operations?: Pick<Operations, 'answer'> | undefined
  readonly logger: Logger
  readonly configFile: string
}

interface Answer {
  readonly status: number
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body: string
}

/** Prometheus text-based format, version 0.0.4. */
const metricsType = 'text/plain; version=0.0.4; charset=utf-8'

type AdminConfig = NonNullable<Config['admin']>

export interface AdminPartsDeps {
  readonly ledger: Ledger
  readonly audit: Pick<AuditLog, 'record'>
  readonly clock: Clock
  readonly logger: Logger
  /** What every process counted. */
  readonly figures: () => Promise<FiguresByProcess>
}

/** What operators use, and how it ends. */
export interface AdminParts extends Pick<AdminServerDeps, 'api' | 'operations'> {
  close(): void
}

/** The admin API and its page as configured; neither where nobody could use it: without keys and client certificates. */
export function configuredParts(
  { admin, authorization_server: { issuer }, session }: Config,
  deps: AdminPartsDeps,
): AdminParts {
  if (admin === undefined || !isApiOpen(admin)) return { close: () => undefined }
  const common = { ...deps, issuer, absoluteSeconds: session.absolute_seconds }
  const operations = createOperations({ ...common, holderOf: createKeyHolders(admin.keys) })
  return {
    api: createAdminApi({ ...common, authenticate: createAuthentication(admin.keys) }),
    operations,
    close: () => operations.close(),
  }
}

/** Whether anybody can use the admin API. */
export function isApiOpen({ keys, tls }: AdminConfig): boolean {
  return Object.keys(keys).length > 0 || tls?.client_ca_file !== undefined
}

/**
 * The admin listener: `/livez` while the process runs, `/readyz` once every part can do its work, `/metrics`, the API
 * under `/admin/` and the page under `/operations`, which both ask who is there.
 * @throws ConfigError when the certificate or its key is not right.
 */
export function createAdminServer(config: AdminConfig, deps: AdminServerDeps): Server {
  const { readiness, metrics, api, operations, logger, configFile } = deps

  async function answer(req: IncomingMessage): Promise<Answer> {
    const called = await api?.(req)
    if (called !== undefined) return { ...json(called.status, called.body), headers: called.headers }
    const page = await operations?.answer(req)
    if (page !== undefined) return page
    const { method, url = '' } = req
    if (method !== 'GET' && method !== 'HEAD') {
      return { ...json(405, { code: 'method_not_allowed' }), headers: { allow: 'GET, HEAD' } }
    }
    // Probes and scrapers may have parameters; none means anything here.
    const [path] = url.split('?')
    if (path === '/livez') return json(200, { live: true })
    if (path === '/readyz') {
      const { ready, parts } = readiness()
      return json(ready ? 200 : 503, { ready, ...parts })
    }
    if (path === '/metrics') return { status: 200, contentType: metricsType, body: await metrics() }
    return json(404, { code: 'not_found' })
  }

  const server = createPublicServer(config, { configFile, options: {}, logger, section: 'admin' })
  return server.on('request', (req, res) => {
    const send = ({ status, contentType = 'application/json', headers, body }: Answer): void => {
      res.writeHead(status, {
        'content-type': contentType,
        'content-length': Buffer.byteLength(body),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...headers,
      })
      res.end(req.method === 'HEAD' ? undefined : body)
    }
    answer(req).then(send, (error: unknown) => {
      logger.error({ event: 'admin_failed', error: describeError(error) }, 'An error that should not be.')
      send(json(500, { code: 'server_error' }))
    })
  })
}

function json(status: number, body: Readonly<Record<string, unknown>>): Answer {
  return { status, body: JSON.stringify(body) }
}
