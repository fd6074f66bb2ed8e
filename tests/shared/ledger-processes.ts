import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LedgerConfig, SessionIdentity } from '@token-handler/shared'

interface Tasks {
  open: { readonly config: LedgerConfig }
  race: { readonly identity: SessionIdentity; readonly until: number }
  watch: { readonly identity: SessionIdentity }
}
export type LedgerTask<Name extends keyof Tasks = keyof Tasks> = {
  [Each in Name]: { readonly task: Each } & Tasks[Each]
}[Name]

export interface RaceResult {
  /** Generations whose commit was answered `committed`. */
  readonly committed: readonly number[]
  /** States that a live session must not be answered. */
  readonly surprises: readonly string[]
}
export type TaskResult = RaceResult | number | undefined

export interface LedgerProcess {
  race(identity: SessionIdentity, until: number): Promise<RaceResult>
  /** @returns Once it watches: when, by its own clock, the rule arrived. */
  watch(identity: SessionIdentity): Promise<{ readonly seenAt: Promise<number> }>
  kill(): Promise<void>
}

const nodeOptions = ['--conditions=token-handler-source', '--disable-warning=ExperimentalWarning']
const program = fileURLToPath(new URL('./ledger-process.ts', import.meta.url))

/**
 * Starts another process and opens the ledger in it.
 * @param limits `fileBytes`: how large a file it may make, as if the disk were full then.
 */
export async function startLedgerProcess(
  config: LedgerConfig,
  { fileBytes }: { fileBytes?: number } = {},
): Promise<LedgerProcess> {
  const limit = fileBytes === undefined ? '' : `ulimit -f ${Math.ceil(fileBytes / 512)};`
  const child = spawn('sh', ['-c', `${limit} exec "$0" "$@"`, process.execPath, ...nodeOptions, program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const next = new Map<string, PromiseWithResolvers<TaskResult>>()
  child.on('message', (sent: { event: string; result?: TaskResult }) => next.get(sent.event)?.resolve(sent.result))
  child.on('exit', () => {
    for (const waiting of next.values()) waiting.reject(new Error('the ledger process is gone'))
  })
  function told(event: 'done' | 'watching'): Promise<TaskResult> {
    const waiting = Promise.withResolvers<TaskResult>()
    next.set(event, waiting)
    return waiting.promise
  }
  const perform = (task: LedgerTask): Promise<TaskResult> => {
    const done = told('done')
    child.send(task)
    return done
  }
  await perform({ task: 'open', config })
  return {
    race: (identity, until) => perform({ task: 'race', identity, until }) as Promise<RaceResult>,
    async watch(identity) {
      const watching = told('watching')
      const seenAt = perform({ task: 'watch', identity }) as Promise<number>
      await watching
      return { seenAt }
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}
