import type { KeyFile } from '@token-handler/shared'
import { processTree } from '../accounting.ts'
import { startChild } from '../processes.ts'
import type { ContenderAnswer, ContenderSettings } from './node-contender.ts'

export type ContenderName =
  | 'bare'
  | 'bare_twin'
  | 'oauth_proxy'
  | 'two_tables'
  | 'express_hpm'
  | 'nginx'
  | 'nginx_auth_request'
  | 'forward_auth'
  | 'mod_auth_openidc'
  | 'one_worker'
  | 'all_workers'

/** A proxy under test, in processes of its own. */
export interface Contender {
  readonly port: number
  /** Its processes, whose CPU time and memory count. */
  pids(): number[]
  stop(): Promise<void>
  /** The same program with another route table, on a port of its own in the same process. It stops with this one. */
  withRoutes?(routes: number): Promise<Contender>
  /** Of contenders on Node only. */
  collectGarbage?(): Promise<void>
  /** Cookie headers that it accepts, where they are not the product's. */
  readonly cookies?: readonly string[]
  /** The access token that it should send for the first of its own cookies. */
  readonly token?: string
}

export interface Surroundings {
  /** Routes of contenders that have a route table. */
  readonly routes: number
  readonly upstreamPort: number
  readonly keyFile: KeyFile
  /** Where contenders on Node write CPU profiles. */
  readonly profileFolder?: string | undefined
}

export async function startNodeContender(
  name: ContenderName,
  module: string,
  { routes, upstreamPort, keyFile, profileFolder }: Surroundings,
  sharesProcess = false,
): Promise<Contender> {
  const nodeOptions =
    profileFolder === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`]
  const child = startChild<ContenderSettings | 'collect_garbage', ContenderAnswer>(
    new URL(module, import.meta.url),
    'contender',
    nodeOptions,
  )
  const listen = async (count: number): Promise<Omit<Contender, 'stop'>> => {
    const { port } = await child.ask({ upstreamPort, keyFile, routes: count })
    return {
      port,
      pids: () => processTree(child.pid),
      async collectGarbage() {
        await child.ask('collect_garbage')
      },
    }
  }
  const contender = { ...(await listen(routes)), stop: () => child.stop() }
  if (!sharesProcess) return contender
  return { ...contender, withRoutes: async (count) => ({ ...(await listen(count)), stop: () => Promise.resolve() }) }
}
