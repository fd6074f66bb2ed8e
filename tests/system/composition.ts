import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  execForm,
  readComposeFile,
  readDockerfile,
  repository,
  type ComposeFile,
  type ComposeService,
} from '../support/compose.ts'
import { startNginx } from '../support/nginx.ts'
import { buildSpa } from '../support/spa-build.ts'
import { until } from '../support/until.ts'
import { createMapping, mapConfigurationFiles, type Mapping } from './composition-mapping.ts'

/** The services of docker-compose.yml, run without containers. */
export interface Composition {
  /** Where the browser goes. */
  readonly url: string
  /** Folder that stands for `/var/lib/token-handler`. */
  readonly secrets: string
  /** Runs the service's health check. @returns Its exit code. */
  checkHealth(service: string): Promise<number>
  /** Everything that a service wrote. */
  readonly output: (service: string) => string
  /** Ends all services as an engine does. @returns Their exit codes. */
  close(): Promise<Record<string, number | null>>
}

const processes = ['ledger', 'authorization-server', 'api', 'agent', 'proxy', 'spa']
/**
 * Runs every service's exact command with its exact environment. What a container would bring is mapped: host names and
 * ports to free ports of this machine, `/app` to the repository with the built workspaces, mounts to temporary folders.
 */
export async function startComposition(): Promise<Composition> {
  const compose = readComposeFile()
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-compose-'))
  const secrets = join(folder, 'secrets')
  for (const name of ['agent', 'proxy', 'client']) mkdirSync(join(secrets, name), { recursive: true, mode: 0o700 })
  mkdirSync(join(folder, 'data'))
  await promisify(execFile)(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-b'], {
    cwd: repository,
  })
  const map = await createMapping({ folder, secrets, spaRoot: await buildSpa() })
  for (const service of [...processes, 'init']) mapConfigurationFiles(service, map, folder)

  const init = compose.services['init'] as ComposeService
  await promisify(execFile)(...command('init', init, map), {
    env: environment('init', init, map),
  })
  const children = new Map<string, { child: ChildProcess; output: string[] }>()
  for (const name of processes) {
    const service = compose.services[name] as ComposeService
    const [program, args] = command(name, service, map)
    const child = spawn(program, args, { env: environment(name, service, map), stdio: ['ignore', 'pipe', 'pipe'] })
    const output: string[] = []
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => output.push(text))
    children.set(name, { child, output })
  }
  const checkHealth = async (name: string): Promise<number> => healthOf(name, compose, map)
  const close = async (): Promise<Record<string, number | null>> => {
    await gateway?.close()
    const codes = await Promise.all(
      [...children].toReversed().map(async ([name, { child }]) => [name, await end(child)]),
    )
    rmSync(folder, { recursive: true, force: true })
    return Object.fromEntries(codes) as Record<string, number | null>
  }
  let gateway: Awaited<ReturnType<typeof startNginx>> | undefined
  try {
    for (const name of processes) {
      await until(`${name} is healthy`, async () => {
        const { child, output } = children.get(name) ?? {}
        if (child?.exitCode !== null) throw new Error(`${name} ended: ${output?.join('')}`)
        return (await checkHealth(name)) === 0
      })
    }
    const port = map.portOf('gateway', 8080)
    const conf = readFileSync(join(repository, 'deploy/compose/nginx.conf'), 'utf8')
    gateway = await startNginx(map.text('gateway', conf), { port })
    return {
      url: `http://localhost:${port}`,
      secrets,
      checkHealth,
      output: (name) => (name === 'gateway' ? (gateway?.log() ?? '') : (children.get(name)?.output.join('') ?? '')),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function command(name: string, service: ComposeService, map: Mapping): [string, string[]] {
  const stage = readDockerfile().get(service.build?.target ?? '')
  const entrypoint = service.entrypoint ?? (stage === undefined ? [] : execForm(stage, 'ENTRYPOINT'))
  const [program = '', ...args] = [...entrypoint, ...(service.command ?? [])].map((word) => map.text(name, word))
  return [program === 'node' ? process.execPath : program, args]
}

/** The service's environment, and a PATH whose `node` is the one of the image. */
function environment(name: string, service: ComposeService, map: Mapping): Record<string, string> {
  const own = Object.entries(service.environment).map(([key, value]): [string, string] => [
    key,
    map.text(name, String(value)),
  ])
  const bin = join(repository, 'node_modules/.bin')
  return { ...Object.fromEntries(own), NODE_ENV: 'production', PATH: `${bin}:${process.env['PATH'] ?? ''}` }
}

async function healthOf(name: string, { services }: ComposeFile, map: Mapping): Promise<number> {
  const service = services[name] as ComposeService
  const stage = readDockerfile().get(service.build?.target ?? '')
  const test = service.healthcheck?.test?.slice(1) ?? (stage === undefined ? [] : execForm(stage, 'HEALTHCHECK'))
  // The default address of the image's check stands in its source.
  const isDefault = test.at(-1)?.endsWith('healthcheck.ts') === true
  const words = isDefault ? [...test, 'http://127.0.0.1:3001/livez'] : test
  const [program = '', ...args] = words.map((word) => map.text(name, word))
  const child = spawn(program === 'node' ? process.execPath : program, args, { stdio: 'ignore' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exited
  clearTimeout(timer)
  return child.exitCode
}
