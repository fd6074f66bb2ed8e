import { startNodeContender, type Contender, type ContenderName, type Surroundings } from './contender.ts'
import { startModAuthOpenidc } from './mod-auth-openidc.ts'
import { startForwardAuth, startNginxAuthRequest } from './nginx-auth-request.ts'
import { startNginx } from './nginx.ts'
import { allWorkers, startWorkers } from './workers.ts'

type Starter = (surroundings: Surroundings) => Promise<Contender | undefined>

function onNode(name: ContenderName, module: string, { sharesProcess = false } = {}): Starter {
  return (surroundings) => startNodeContender(name, module, surroundings, sharesProcess)
}

const starters: Readonly<Record<ContenderName, Starter>> = {
  bare: onNode('bare', './bare.ts'),
  bare_twin: onNode('bare_twin', './bare.ts'),
  oauth_proxy: onNode('oauth_proxy', './oauth-proxy.ts'),
  two_tables: onNode('two_tables', './oauth-proxy.ts', { sharesProcess: true }),
  express_hpm: onNode('express_hpm', './express-hpm.ts'),
  nginx: startNginx,
  nginx_auth_request: startNginxAuthRequest,
  forward_auth: startForwardAuth,
  mod_auth_openidc: startModAuthOpenidc,
  one_worker: (surroundings) => startWorkers(1, surroundings),
  all_workers: (surroundings) => startWorkers(allWorkers, surroundings),
}

/** @returns `undefined` when the program that it needs is not installed. */
export function startContender(name: ContenderName, surroundings: Surroundings): Promise<Contender | undefined> {
  return starters[name](surroundings)
}
