import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNodeContender, type Contender, type ContenderName, type Surroundings } from './contender.ts'
import { forwardAuthSecret } from './forward-auth-secret.ts'
import { startNginxWith } from './nginx.ts'

const recipes = join(import.meta.dirname, '../../../deploy/nginx')

/** nginx with our recipe, and the forward auth that it asks: what both of them use. */
export function startNginxAuthRequest(surroundings: Surroundings): Promise<Contender | undefined> {
  return startBoth('nginx_auth_request', surroundings, (nginx, forwardAuth) => [...nginx.pids(), ...forwardAuth.pids()])
}

/** The same, but only what forward auth uses. */
export function startForwardAuth(surroundings: Surroundings): Promise<Contender | undefined> {
  return startBoth('forward_auth', surroundings, (_nginx, forwardAuth) => forwardAuth.pids())
}

async function startBoth(
  name: ContenderName,
  surroundings: Surroundings,
  pidsOf: (nginx: Contender, forwardAuth: Contender) => number[],
): Promise<Contender | undefined> {
  const forwardAuth = await startNodeContender(name, './forward-auth.ts', surroundings)
  const { upstreamPort } = surroundings
  const nginx = await startNginxWith({
    upstreamPort,
    http: recipe('forward-auth-http.conf')
      .replace(/upstream api \{[^}]*\}/, '')
      .replace('127.0.0.1:3002', `127.0.0.1:${forwardAuth.port}`),
    server: recipe('forward-auth.conf')
      .replace(
        'include token-handler-gateway-secret.conf;',
        `proxy_set_header Token-Handler-Gateway-Secret "${forwardAuthSecret}";`,
      )
      .replaceAll('include token-handler-denial.conf', `include ${join(recipes, 'token-handler-denial.conf')}`),
  })
  if (nginx === undefined) {
    await forwardAuth.stop()
    return undefined
  }
  return {
    port: nginx.port,
    pids: () => pidsOf(nginx, forwardAuth),
    async stop() {
      await nginx.stop()
      await forwardAuth.stop()
    },
  }
}

function recipe(name: string): string {
  return readFileSync(join(recipes, name), 'utf8')
}
