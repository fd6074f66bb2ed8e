import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from '@jest/globals'
import { configurationWith, startNginx } from '../support/nginx.ts'
import type { GatewayPorts, RunningGateway } from './gateway-bed.ts'
import { describeGateway } from './gateway-contract.ts'

const recipes = join(import.meta.dirname, '../../deploy/nginx')

describe('nginx with our forward-auth recipe', () => {
  describeGateway('nginx', start)
})

async function start(ports: GatewayPorts): Promise<RunningGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-gateway-'))
  const secretFile = join(folder, 'secret.conf')
  writeFileSync(secretFile, `proxy_set_header Token-Handler-Gateway-Secret "${ports.secret}";\n`)
  const recipe = (name: string): string =>
    readFileSync(join(recipes, name), 'utf8')
      .replaceAll('127.0.0.1:3000', `127.0.0.1:${ports.tokenHandler}`)
      .replaceAll('127.0.0.1:3002', `127.0.0.1:${ports.forwardAuth}`)
      .replaceAll('127.0.0.1:3200', `127.0.0.1:${ports.api}`)
      .replaceAll('include token-handler-gateway-secret.conf', `include ${secretFile}`)
      .replaceAll('include token-handler-denial.conf', `include ${join(recipes, 'token-handler-denial.conf')}`)
  const nginx = await startNginx(
    configurationWith({
      port: ports.gateway,
      http: recipe('forward-auth-http.conf'),
      server: recipe('forward-auth.conf'),
    }),
    { port: ports.gateway },
  )
  return {
    log: () => nginx.log(),
    async close() {
      await nginx.close()
      rmSync(folder, { recursive: true })
    },
  }
}
