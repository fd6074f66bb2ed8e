import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { placed, type Place } from './placement.ts'

/** A program of the benchmark in a process of its own, which answers questions one after another. */
export interface Child<Question, Answer> {
  readonly pid: number
  /** @throws Error with the child's own message when it could not do what it was asked. */
  ask<A extends Answer>(question: Question): Promise<A>
  stop(): Promise<void>
}

type Envelope = { readonly answer: unknown } | { readonly error: string }

/** @param module URL of a TypeScript file that calls {@link answerParent}. */
export function startChild<Question, Answer>(
  module: URL,
  place: Place,
  nodeOptions: readonly string[] = [],
): Child<Question, Answer> {
  const [execPath, execArgv] = placed(place, process.execPath, ['--conditions=token-handler-source', ...nodeOptions])
  const child = fork(module, {
    execPath,
    execArgv,
    env: { ...process.env, NODE_ENV: 'production' },
    // Standard output is the benchmark's own: with --json it holds one object and nothing else.
    stdio: ['ignore', process.stderr, 'inherit', 'ipc'],
  })
  return {
    pid: child.pid ?? 0,
    async ask<A extends Answer>(question: Question): Promise<A> {
      child.send(question as object)
      const envelope = await nextMessage(child)
      if ('error' in envelope) throw new Error(envelope.error)
      return envelope.answer as A
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

function nextMessage(child: ChildProcess): Promise<Envelope> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => {
      child.off('message', onMessage)
      reject(new Error(`a process of the benchmark ended with exit code ${code}`))
    }
    const onMessage = (message: unknown): void => {
      child.off('exit', onExit)
      resolve(message as Envelope)
    }
    child.once('message', onMessage).once('exit', onExit)
  })
}

/** The child's side. It ends with its parent, however that ends. */
export function answerParent(answerTo: (question: unknown) => Promise<object>): void {
  process.on('message', (question) => {
    answerTo(question).then(
      (answer) => process.send?.({ answer }),
      (error: unknown) =>
        process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  process.on('disconnect', () => process.exit())
}
