import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../support/free-port.ts'
import { processTree } from '../accounting.ts'
import { placed, type Place } from '../placement.ts'
import type { Contender } from './contender.ts'

const startDeadlineMs = 60_000
/**
 * Starts a server program with a configuration of its own in a temporary folder, and waits until it takes connections.
 * @param args Its arguments, given the configuration file and the folder.
 */
export async function startProgram(
  program: string,
  args: (configFile: string, folder: string) => readonly string[],
  configuration: (port: number, folder: string) => string,
  place: Place = 'contender',
): Promise<Contender> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  const port = await freePort()
  const configFile = join(folder, 'server.conf')
  await writeFile(configFile, configuration(port, folder))
  const [command, commandArgs] = placed(place, program, args(configFile, folder))
  const child = spawn(command, commandArgs, { stdio: ['ignore', process.stderr, 'inherit'] })
  // Whatever happens to the benchmark, nothing of it stays behind.
  const kill = (): void => void child.kill('SIGTERM')
  process.once('exit', kill)
  const stop = async (): Promise<void> => {
    process.off('exit', kill)
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    }
    await rm(folder, { recursive: true, force: true })
  }
  const deadline = Date.now() + startDeadlineMs
  while (!(await isListening(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop()
      throw new Error(`${program} did not start`)
    }
  }
  const { pid = 0 } = child
  return { port, pids: () => processTree(pid), stop }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => socket.destroy())
    socket.once('error', () => setTimeout(() => resolve(false), 20))
    socket.once('close', (hadError) => {
      if (!hadError) resolve(true)
    })
  })
}
