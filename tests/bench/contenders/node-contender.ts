import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
  answerParent(async (settings) => {
    const server = build(settings as ContenderSettings)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return { port: (server.address() as AddressInfo).port }
  })
}
