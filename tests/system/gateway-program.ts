import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../support/until.ts'
import type { GatewayPorts, RunningGateway } from './gateway-bed.ts'

/** Ports of the recipes that read their addresses from one file, replaced by those of this run. */
export function withPorts(recipe: string, ports: GatewayPorts): string {
  return recipe
    .replaceAll('127.0.0.1:3000', `127.0.0.1:${ports.tokenHandler}`)
    .replaceAll('127.0.0.1:3002', `127.0.0.1:${ports.forwardAuth}`)
    .replaceAll('127.0.0.1:3200', `127.0.0.1:${ports.api}`)
    .replaceAll('8080', String(ports.gateway))
}

/**
 * Starts a gateway of the operating system in a folder of its own, until its port answers.
 * @param files By name; the program runs in their folder.
 * @throws Error with the program's own words when it does not start.
 */
export async function startProgram(
  [program, ...args]: readonly [string, ...string[]],
  { ports, files }: { ports: GatewayPorts; files: Readonly<Record<string, string>> },
): Promise<RunningGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-gateway-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const { secret, forwardAuth } = ports
  const child = spawn(program, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      TOKEN_HANDLER_GATEWAY_SECRET: secret,
      TOKEN_HANDLER_FORWARD_AUTH: `http://127.0.0.1:${forwardAuth}`,
    },
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (log += text))
  }
  child.on('error', (error) => (log += error.message))
  const close = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await until(`${program} answers`, () => {
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`${program} did not start: ${log}`)
      return isListening(ports.gateway)
    })
  } catch (error) {
    await close()
    throw error
  }
  return { log: () => log, close }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const outcome = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false)
  socket.destroy()
  return outcome
}
