import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, it } from '@jest/globals'
import { silentLogger } from '@token-handler/shared'
import { startDemo } from '../../spa-example/demo.ts'
import { repository } from '../support/compose.ts'
import { freePort } from '../support/free-port.ts'
import { configurationWith, startNginx } from '../support/nginx.ts'
import { expectClientsToldApart } from './client-addresses.ts'

const read = (file: string): string => readFileSync(join(repository, file), 'utf8')
const fenced = /```nginx\n(.*?)```/s
const recipes = [
  ['deploy/nginx/token-handler.conf', read('deploy/nginx/token-handler.conf')],
  ['docs/getting-started.md', fenced.exec(read('docs/getting-started.md'))?.[1] ?? ''],
] as const
const limit = 3

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

describe('nginx with our recipe for a Token Handler behind it', () => {
  it.each(recipes)(
    'tells clients apart by their addresses, whatever they say themselves: %s',
    async (_file, recipe) => {
      const port = await freePort()
      const origin = `http://localhost:${port}`
      const demo = await startDemo({
        ports: { web: 0, authorizationServer: 0, api: 0, admin: 0 },
        spa: { handler: async () => (_req, res) => res.end() },
        logger: silentLogger,
        publicOrigin: origin,
        configure: (config) => ({
          ...config,
          agent: { rate_limit: { requests: limit, window_seconds: 3600 } },
          proxy: {
            ...config.proxy,
            trusted_proxies: ['127.0.0.1'],
            rate_limit: { per_address: { requests: limit, window_seconds: 3600 } },
          },
        }),
      })
      opened.push(demo)
      const { port: tokenHandler } = demo.tokenHandler.server.address() as AddressInfo
      const http = read('deploy/nginx/connection.conf')
      const server = recipe.replaceAll('127.0.0.1:3000', `127.0.0.1:${tokenHandler}`)
      opened.push(await startNginx(configurationWith({ port, http, server }), { port }))

      const headers = [`Host: localhost:${port}`, `Origin: ${origin}`, 'token-handler-version: 1', 'Content-Length: 0']
      await expectClientsToldApart({ port, requestLine: 'POST /oauth-agent/refresh', headers, limit })
      await expectClientsToldApart({ port, requestLine: 'POST /api/orders', headers, limit })
    },
  )
})
