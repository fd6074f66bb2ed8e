import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { configured } from '../shared/configuration.ts'

const main = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))

/** How a command ended, and all that it said. */
export interface Ended {
  /** `null` when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder for one test, in which the command runs. */
export interface WorkingFolder {
  readonly path: string
  write(name: string, content: string): void
  /** Writes token-handler.yaml: the smallest configuration with changes. */
  configure(changes: Readonly<Record<string, unknown>>): void
  read(name: string): string
  /** Runs the command to its end. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>
  /**
   * Starts the command; `ended` resolves when it stops.
   * @param openFiles Most files that it may have open; as many as this process unless given.
   */
  start(
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
    openFiles?: number,
  ): { readonly process: ChildProcess; readonly ended: Promise<Ended> }
  /** Ends what still runs, and removes the folder. */
  remove(): Promise<void>
}

export function workingFolder(): WorkingFolder {
  const path = mkdtempSync(join(tmpdir(), 'command-line-'))
  const running = new Map<ChildProcess, Promise<Ended>>()

  function start(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    openFiles?: number,
  ): { process: ChildProcess; ended: Promise<Ended> } {
    const limit = openFiles === undefined ? '' : `ulimit -n ${openFiles};`
    const command = [process.execPath, '--conditions=token-handler-source', main, ...args]
    const child = spawn('sh', ['-c', `${limit} exec "$0" "$@"`, ...command], {
      cwd: path,
      env: { PATH: process.env['PATH'] ?? '', NODE_NO_WARNINGS: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const text = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk))
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code) => {
        running.delete(child)
        resolve({ code, ...text })
      })
    })
    running.set(child, ended)
    return { process: child, ended }
  }

  const write = (name: string, content: string): void => writeFileSync(join(path, name), content)
  return {
    path,
    write,
    configure: (changes) => write('token-handler.yaml', stringify(configured(changes))),
    read: (name) => readFileSync(join(path, name), 'utf8'),
    run: (args, env) => start(args, env).ended,
    start,
    async remove() {
      for (const child of running.keys()) child.kill('SIGKILL')
      await Promise.all(running.values())
      rmSync(path, { recursive: true })
    },
  }
}
