import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { cookieSettings, keyContext, publicOrigin, routePaths } from '../site.ts'
import type { Contender, Surroundings } from './contender.ts'
import { startProgram } from './native-program.ts'

const main = fileURLToPath(new URL('../../../cli/src/main.ts', import.meta.url))

/** The most that can help: one process a processor. */
export const allWorkers: number = availableParallelism()

/** `token-handler start --only proxy --workers N`, as an operator starts it, on all processors that there are. */
export function startWorkers(
  workers: number,
  { routes, upstreamPort, keyFile }: Surroundings,
): Promise<Contender | undefined> {
  const args = ['--conditions=token-handler-source', '--disable-warning=ExperimentalWarning', main]
  return startProgram(
    process.execPath,
    (configFile) => [...args, 'start', '--only', 'proxy', '--workers', String(workers), '--config', configFile],
    (port, folder) => {
      writeFileSync(join(folder, 'keys.json'), JSON.stringify(keyFile), { mode: 0o600 })
      return stringify({
        public_url: publicOrigin,
        listen: { port },
        authorization_server: {
          issuer: keyContext.issuer,
          client_id: keyContext.clientId,
          redirect_uri: `${publicOrigin}/callback`,
        },
        cookies: { prefix: cookieSettings.prefix, header_budget: cookieSettings.headerBudgetBytes },
        keys: { file: 'keys.json' },
        log: { level: 'warn' },
        proxy: {
          routes: routePaths(routes).map((path) => ({ path, upstream: `http://127.0.0.1:${upstreamPort}` })),
        },
      })
    },
    'anywhere',
  )
}
