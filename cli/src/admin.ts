import { createServer, type Server } from 'node:http'

export interface Readiness {
  readonly ready: boolean
  /** What each part says of itself, such as `{ authorization_server: 'unavailable' }`. */
  readonly parts: Readonly<Record<string, string>>
}

/** The admin listener: `/livez` while the process runs, `/readyz` once every part can do its work. */
export function createAdminServer(readiness: () => Readiness): Server {
  return createServer((req, res) => {
    const { ready, parts } = readiness()
    const [status, body] =
      req.method !== 'GET' && req.method !== 'HEAD'
        ? [405, { code: 'method_not_allowed' }]
        : req.url === '/livez'
          ? [200, { live: true }]
          : req.url === '/readyz'
            ? [ready ? 200 : 503, { ready, ...parts }]
            : [404, { code: 'not_found' }]
    res.writeHead(status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    })
    res.end(req.method === 'HEAD' ? undefined : JSON.stringify(body))
  })
}
