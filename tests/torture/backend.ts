import { TortureAuthorizationServer } from './authorization-server.ts'
import { startExternalBackend } from './external-backend.ts'
import type { TortureOptions } from './options.ts'
import type { AnswerRefresh } from './refresh-faults.ts'

/** The authorization server of a run, scripted or the operator's own. */
export interface Backend {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly redirectUri: string
  /** The part of an agent's configuration by which its requests are told from those of the others. */
  settingsOf(agent: number): object
  readonly preload: string | undefined
  environmentOf(agent: number): Readonly<Record<string, string>>
  /** The authorization response to an authorization request. */
  authorize(url: string): Promise<URL>
  answerRefreshes(answer: AnswerRefresh): void
  readonly isAlive: ((token: string) => boolean) | undefined
  close(): Promise<void>
}

export async function startBackend(options: TortureOptions, { graceMs }: { graceMs: number }): Promise<Backend> {
  if (options.external !== undefined) return startExternalBackend(options.external)
  const server = await TortureAuthorizationServer.start(options.rotation, graceMs)
  return {
    issuer: server.issuer,
    clientId: server.clientId,
    clientSecret: server.clientSecret,
    redirectUri: 'http://localhost:3000/callback',
    settingsOf: (agent) => ({ resource: [TortureAuthorizationServer.resourceOf(agent)] }),
    preload: undefined,
    environmentOf: () => ({}),
    authorize: async (url) => server.authorize(url),
    answerRefreshes: (answer) => server.answerRefreshes(answer),
    isAlive: (token) => server.isAlive(token),
    close: () => server.close(),
  }
}
