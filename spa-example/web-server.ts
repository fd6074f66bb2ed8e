/**
 * The built SPA alone, for a composition of containers: `SPA_ORIGIN` has to be set, the origin that browsers see; `SPA_HOST`,
 * `SPA_PORT` and `SPA_ROOT` may be, and `AGENT_URL`, the base URL of an agent on another origin.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createSpaHandler } from '@token-handler/cli'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { createLogger } from '@token-handler/shared'
import { parsePort, readEnvironment, runUntilStopped } from './environment.ts'

await runUntilStopped('SPA', async () => {
  const env = readEnvironment(process.env, {
    SPA_HOST: '127.0.0.1',
    SPA_PORT: '3300',
    SPA_ROOT: join(import.meta.dirname, 'web/dist'),
    SPA_ORIGIN: undefined,
  })
  const agentUrl = process.env['AGENT_URL'] || undefined
  const spa = createSpaHandler({
    root: env.SPA_ROOT,
    origin: env.SPA_ORIGIN,
    callbackPath: '/callback',
    connectOrigins: agentUrl === undefined ? [] : [new URL(agentUrl).origin],
    agentUrl,
    logger: createLogger('warn'),
  })
  const server = createServer(serverOptions, spa)
  hardenServer(server)
  server.listen(parsePort('SPA_PORT', env.SPA_PORT), env.SPA_HOST)
  await once(server, 'listening')
  return {
    url: `http://${env.SPA_HOST}:${(server.address() as AddressInfo).port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
})
