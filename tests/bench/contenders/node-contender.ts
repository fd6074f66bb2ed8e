import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { KeyFile } from '@token-handler/shared'
import { answerParent } from '../processes.ts'

/** What a contender on Node is told before it listens. */
export interface ContenderSettings {
  readonly upstreamPort: number
  /** Number of routes where the contender has a route table. */
  readonly routes: number
  readonly keyFile: KeyFile
}

export interface ContenderAnswer {
  readonly port: number
}

/** Runs a contender in this process: builds it from its settings, listens on a free port and tells which. */
export function contend(build: (settings: ContenderSettings) => Server): void {
  let port = 0
  answerParent(async (settings) => {
    if (settings === 'collect_garbage') {
      collectGarbage()
      return { port }
    }
    const server = build(settings as ContenderSettings)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    ;({ port } = server.address() as AddressInfo)
    return { port }
  })
}

/**
 * Leaves only what is in use, in as few pages as it takes: how many more V8 keeps depends on when it last tidied up. Only
 * the process that is asked gets the flag.
 */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: object) => void
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
