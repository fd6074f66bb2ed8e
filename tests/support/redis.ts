import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A real redis-server of one test file. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  /** Runs one command with redis-cli. @returns Its output. */
  command(...args: readonly string[]): Promise<string>
  /** The process hangs: connections stay, nothing answers. */
  pause(): void
  resume(): void
  /** kill -9. */
  kill(): Promise<void>
  /** Starts again on the same port, over the same folder. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Starts a server on a free port. It keeps nothing over a restart unless `settings` say so. */
export async function startRedis(settings: readonly string[] = []): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'redis-'))
  const port = await freePort()
  let child: ChildProcess

  async function start(): Promise<void> {
    const defaults = ['--save', '', '--appendonly', 'no', '--daemonize', 'no', '--loglevel', 'warning']
    const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder]
    child = spawn('redis-server', [...place, ...defaults, ...settings], { stdio: ['ignore', 'ignore', 'inherit'] })
    const exited = once(child, 'exit').then(() => Promise.reject(new Error('redis-server ended')))
    exited.catch(() => undefined)
    await Promise.race([exited, until('redis-server answers', () => isListening(port))])
  }

  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async command(...args) {
      const { stdout } = await promisify(execFile)('redis-cli', ['-p', String(port), ...args])
      return stdout.trim()
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    start,
    async close() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
