import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Config, SessionIdentity } from '@token-handler/shared'

interface Tasks {
  open: Pick<Config, 'ledger' | 'session'>
  race: { readonly identity: SessionIdentity; readonly until: number }
  watch: { readonly identity: SessionIdentity }
}
export type LedgerTask<Name extends keyof Tasks = keyof Tasks> = {
  [Each in Name]: { readonly task: Each } & Tasks[Each]
}[Name]

export interface RaceResult {
  /** Generations whose commit was answered `committed`. */
  readonly committed: readonly number[]
  /** Answers that a live session must not get. */
  readonly surprises: readonly string[]
}
export type TaskResult = RaceResult | number | undefined

export interface LedgerProcess {
  race(identity: SessionIdentity, until: number): Promise<RaceResult>
  /** @returns Once it watches: when, by its own clock, the rule arrived. */
  watch(identity: SessionIdentity): Promise<{ readonly seenAt: Promise<number> }>
  kill(): Promise<void>
}

const program = fileURLToPath(new URL('./ledger-process.ts', import.meta.url))

/** Starts another process and opens the ledger in it. */
export async function startLedgerProcess(config: Pick<Config, 'ledger' | 'session'>): Promise<LedgerProcess> {
  const child = fork(program, { execArgv: ['--conditions=development', '--disable-warning=ExperimentalWarning'] })
  const exited = once(child, 'exit')
  async function message(key: 'result' | 'watching'): Promise<TaskResult> {
    for (;;) {
      const [sent] = (await Promise.race([
        once(child, 'message'),
        exited.then(([code]) => Promise.reject(new Error(`the ledger process ended with ${String(code)}`))),
      ])) as [Record<string, TaskResult>]
      if (key in sent) return sent[key]
    }
  }
  const perform = (task: LedgerTask): Promise<TaskResult> => {
    child.send(task)
    return message('result')
  }
  await perform({ task: 'open', ledger: config.ledger, session: config.session })
  return {
    race: (identity, until) => perform({ task: 'race', identity, until }) as Promise<RaceResult>,
    async watch(identity) {
      const watching = message('watching')
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
