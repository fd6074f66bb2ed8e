import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

/** The repository. */
export const repository: string = join(import.meta.dirname, '../..')

const healthcheck = z.strictObject({
  test: z.array(z.string()).optional(),
  disable: z.boolean().optional(),
  interval: z.string().optional(),
  timeout: z.string().optional(),
  start_period: z.string().optional(),
  retries: z.int().optional(),
})

const condition = z.strictObject({
  condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']),
})

const membership = z.strictObject({
  aliases: z.array(z.string()).optional(),
  ipv4_address: z.ipv4().optional(),
})

const network = z.strictObject({
  internal: z.boolean().optional(),
  ipam: z.strictObject({ config: z.array(z.strictObject({ subnet: z.cidrv4(), ip_range: z.cidrv4() })) }).optional(),
})

const service = z.strictObject({
  build: z.strictObject({ context: z.string(), target: z.string() }).optional(),
  image: z.string(),
  user: z.string().optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
  depends_on: z.record(z.string(), condition).default({}),
  healthcheck: healthcheck.optional(),
  network_mode: z.enum(['none']).optional(),
  networks: z.union([z.array(z.string()), z.record(z.string(), membership.nullable())]).default([]),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/)).default([]),
  volumes: z.array(z.string()).default([]),
  read_only: z.boolean(),
  tmpfs: z.array(z.string()),
  cap_drop: z.array(z.string()),
  security_opt: z.array(z.string()),
  restart: z.enum(['no', 'always', 'on-failure', 'unless-stopped']),
  stop_grace_period: z
    .string()
    .regex(/^\d+s$/)
    .optional(),
})

/** The part of the Compose specification that docker-compose.yml uses; keys that it does not know are refused. */
const composeFile = z.strictObject({
  name: z.string(),
  services: z.record(z.string(), service),
  networks: z.record(z.string(), network.nullable()),
  volumes: z.record(z.string(), z.strictObject({}).nullable()),
})

export type ComposeFile = z.output<typeof composeFile>
export type ComposeService = ComposeFile['services'][string]

/** Reads docker-compose.yml with its merge keys resolved. @throws when it does not follow the specification. */
export function readComposeFile(): ComposeFile {
  const raw = parse(readFileSync(join(repository, 'docker-compose.yml'), 'utf8'), { merge: true }) as object
  return composeFile.parse(Object.fromEntries(Object.entries(raw).filter(([key]) => !key.startsWith('x-'))))
}

/** One stage of the Dockerfile, with what it takes over from stages of the same file. */
export interface DockerStage {
  readonly base: string
  readonly instructions: readonly { readonly name: string; readonly argument: string }[]
}

/** The stages of the Dockerfile by name. */
export function readDockerfile(): Map<string, DockerStage> {
  const text = readFileSync(join(repository, 'Dockerfile'), 'utf8').replaceAll(/\\\n/g, ' ')
  const stages = new Map<string, { base: string; instructions: { name: string; argument: string }[] }>()
  let current: { base: string; instructions: { name: string; argument: string }[] } | undefined
  for (const line of text.split('\n')) {
    const [, name = '', argument = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
    if (name === 'FROM') {
      const [, base = '', stage = ''] = /^(\S+) AS (\S+)$/.exec(argument) ?? []
      current = { base, instructions: [] }
      stages.set(stage, current)
    } else if (name !== '') current?.instructions.push({ name, argument })
  }
  return stages
}

/** The last exec-form instruction of a stage, such as ENTRYPOINT. */
export function execForm({ instructions }: DockerStage, name: string): string[] {
  const found = instructions.findLast((instruction) => instruction.name === name)
  const list = /\[.*\]/.exec(found?.argument ?? '')?.[0]
  return list === undefined ? [] : (JSON.parse(list) as string[])
}
