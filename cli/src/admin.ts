import { createServer, type Server } from 'node:http'
import { describeError, type Logger } from '@token-handler/shared'

export interface Readiness {
  readonly ready: boolean
  /** What each part says of itself, such as `{ authorization_server: 'unavailable' }`. */
  readonly parts: Readonly<Record<string, string>>
}

export interface AdminServerDeps {
  readonly readiness: () => Readiness
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>
  readonly logger: Logger
}

interface Answer {
  readonly status: number
  readonly contentType?: string
  readonly body: string
}

/** Prometheus text-based format, version 0.0.4. */
const metricsType = 'text/plain; version=0.0.4; charset=utf-8'

/** The admin listener: `/livez` while the process runs, `/readyz` once every part can do its work, and `/metrics`. */
export function createAdminServer({ readiness, metrics, logger }: AdminServerDeps): Server {
  async function answer(method: string | undefined, url: string | undefined): Promise<Answer> {
    if (method !== 'GET' && method !== 'HEAD') return json(405, { code: 'method_not_allowed' })
    if (url === '/livez') return json(200, { live: true })
    if (url === '/readyz') {
      const { ready, parts } = readiness()
      return json(ready ? 200 : 503, { ready, ...parts })
    }
    if (url === '/metrics') return { status: 200, contentType: metricsType, body: await metrics() }
    return json(404, { code: 'not_found' })
  }

  return createServer((req, res) => {
    const send = ({ status, contentType = 'application/json', body }: Answer): void => {
      res.writeHead(status, {
        'content-type': contentType,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
      })
      res.end(req.method === 'HEAD' ? undefined : body)
    }
    answer(req.method, req.url).then(send, (error: unknown) => {
      logger.error({ event: 'admin_failed', error: describeError(error) }, 'An error that should not be.')
      send(json(500, { code: 'server_error' }))
    })
  })
}

function json(status: number, body: Readonly<Record<string, unknown>>): Answer {
  return { status, body: JSON.stringify(body) }
}
