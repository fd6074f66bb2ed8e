import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './until.ts'

export interface RunningNginx {
  /** Everything it wrote to its error log, and to standard output, so far. */
  log(): string
  close(): Promise<void>
}

/**
 * Starts the nginx of the operating system in the foreground, with a folder of its own, until its port answers.
 * @param configuration The whole nginx.conf; relative paths count from its folder.
 * @throws Error with nginx's own words when it does not start.
 */
export async function startNginx(configuration: string, { port }: { port: number }): Promise<RunningNginx> {
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-nginx-'))
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, configuration)
  // A file, because /dev/stdout cannot be opened where it is a socket.
  const outputFile = join(folder, 'output')
  const nginx = spawn('nginx', ['-p', folder, '-c', file, '-e', 'stderr', '-g', 'daemon off;'], {
    stdio: ['ignore', openSync(outputFile, 'a'), 'pipe'],
  })
  let log = ''
  nginx.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text))
  nginx.on('error', (error) => (log += error.message))
  const stop = async (): Promise<void> => {
    await end(nginx)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await until('nginx answers', () => {
      if (nginx.exitCode !== null || nginx.pid === undefined) throw new Error(`nginx did not start: ${log}`)
      return isListening(port)
    })
  } catch (error) {
    await stop()
    throw error
  }
  return { log: () => log + readFileSync(outputFile, 'utf8'), close: stop }
}

/**
 * A configuration with one server, in which no buffer, header or time-out is set but by the given lines: what a new
 * installation does.
 */
export function configurationWith({
  port,
  server,
  http = '',
}: {
  port: number
  /** Lines of the server block. */
  server: string
  /** Lines of the http block. */
  http?: string
}): string {
  return `${mainContext}
http {
  ${temporaryPaths}
  access_log off;
  ${http}
  server {
    listen 127.0.0.1:${port};
    ${server}
  }
}
`
}

/** As root, nginx's workers would give up rights and could not use the temporary folder. */
const mainContext = `${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }`

/** Debian's point to folders that only its own package may write. */
const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((name) => `${name}_temp_path ${name};`)
  .join(' ')

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const outcome = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false)
  socket.destroy()
  return outcome
}

async function end(process: ChildProcess): Promise<void> {
  if (process.pid === undefined || process.exitCode !== null || process.signalCode !== null) return
  const exited = once(process, 'exit')
  process.kill('SIGTERM')
  const timer = setTimeout(() => process.kill('SIGKILL'), 5_000)
  await exited
  clearTimeout(timer)
}
