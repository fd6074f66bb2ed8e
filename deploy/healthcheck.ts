/**
 * The health check of the container images: `node healthcheck.ts [URL]` ends with 0 when the URL answers without a server
 * error, by default the admin listener's `/livez`. Liveness, not readiness: a container is not restarted because the
 * authorization server is away.
 */
const url = process.argv[2] ?? 'http://127.0.0.1:3001/livez'
const status = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(2_000) }).then(
  (answer) => answer.status,
  () => 503,
)
process.exit(status < 500 ? 0 : 1)
