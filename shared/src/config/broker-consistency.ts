import { createPublicKey } from 'node:crypto'
import type { ConfigProblem } from './load.ts'
import { privateKeyProblem } from './private-key.ts'
import type { Config } from './schema.ts'

const unknownRole = 'names a role that roles does not define'

type Report = (key: string, message: string) => void

/** What is contradictory about capabilities, roles and their signing key. */
export function checkBroker(config: Config, isSecure: (url: string) => boolean): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const roles = new Set(config.roles.map(({ name }) => name))
  const seen = new Set<string>()
  config.capabilities.forEach((capability, index) => {
    const at: Report = (key, message) => problems.push({ path: `capabilities[${index}].${key}`, message })
    if (seen.has(capability.name)) at('name', 'is the name of an earlier capability')
    seen.add(capability.name)
    if (!capability.roles.every((role) => roles.has(role))) at('roles', unknownRole)
    if (capability.kind === 'jwt') {
      if (config.capability_signing === undefined) at('kind', 'jwt needs capability_signing')
      return
    }
    for (const key of ['endpoint', 'sts_endpoint'] as const) {
      const url = (capability as Partial<Record<typeof key, string>>)[key]
      if (url !== undefined && !isSecure(url)) at(key, 'must be https; http is for loopback addresses only')
    }
    if (capability.kind === 's3-presigned') checkPresigned(capability, at)
    else checkKey(capability.prefix.replace(/\/$/, ''), 'prefix', [], at)
  })
  config.proxy.routes.forEach((route, index) => {
    if (route.roles.every((role) => roles.has(role))) return
    problems.push({ path: `proxy.routes[${index}].roles`, message: unknownRole })
  })
  return [...problems, ...checkSigning(config)]
}

type Presigned = Extract<Config['capabilities'][number], { kind: 's3-presigned' }>

function checkPresigned({ operation, key, inputs, content_types, max_bytes }: Presigned, at: Report): void {
  const ours = ['sub', 'content_type', 'content_length', 'checksum_sha256']
  if (inputs.some((name) => ours.includes(name))) at('inputs', `must not name ${ours.join(', ')}`)
  if (inputs.some((name) => name !== 'file' && !key.includes(`{${name}}`))) {
    at('inputs', 'names what is no placeholder of key')
  }
  checkKey(key, 'key', inputs, at)
  if (operation === 'GET') return
  if (content_types.length === 0) at('content_types', 'is required for uploads')
  if (max_bytes === undefined) at('max_bytes', 'is required for uploads')
}

function checkKey(template: string, name: string, inputs: readonly string[], at: Report): void {
  const segments = template.split('/')
  if (segments.some((segment) => /^\.\.?$/.test(segment))) at(name, 'has a dot segment')
  if (inputs.some((input) => segments[0]?.includes(`{${input}}`))) {
    at(name, 'must begin with a segment that the SPA does not choose')
  }
}

function checkSigning({ capability_signing: signing }: Config): ConfigProblem[] {
  if (signing === undefined) return []
  const problem = privateKeyProblem(signing.private_key, signing.algorithm)
  return [
    ...(problem === undefined ? [] : [{ path: 'capability_signing.private_key', message: problem }]),
    ...signing.other_keys.flatMap((text, index) =>
      isPublishable(text)
        ? []
        : [{ path: `capability_signing.other_keys[${index}]`, message: 'must be a P-256 or Ed25519 key: JWK or PEM' }],
    ),
  ]
}

function isPublishable(text: string): boolean {
  try {
    const key = text.trimStart().startsWith('{')
      ? createPublicKey({ key: JSON.parse(text) as never, format: 'jwk' })
      : createPublicKey(text)
    return key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  } catch {
    return false
  }
}
