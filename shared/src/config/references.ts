import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { ConfigProblem } from './load.ts'

/** Who reads the configuration: one part alone, or a command that works on the ledger and the keys beside them. */
export type ConfigReader = 'agent' | 'proxy' | 'command'

const agentSecrets = [
  /^authorization_server\.client_authentication\.(?:client_secret|private_key)$/,
  /^capability_signing\.(?:private_key|other_keys\[\d+\])$/,
  /^capabilities\[\d+\]\.pairwise_secret$/,
]
const gatewaySecrets = [/^forward_auth\.(?:previous_)?gateway_secret$/]
const secrets = [...agentSecrets, ...gatewaySecrets]
/** What should not be written into the configuration where others can read that. */
const written = [...secrets, /^admin\.keys\./, /^audit\.(?:key|previous_keys\[\d+\])$/]
/** Passes as a secret of any kind. */
const standIn = 'not-read-for-it-is-not-used-here'

const unused: Readonly<Record<ConfigReader, readonly RegExp[]>> = {
  agent: gatewaySecrets,
  proxy: agentSecrets,
  command: [...agentSecrets, ...gatewaySecrets, /^admin\.keys\./],
}

/** Whether a reader has no use for the secret at a path of the file: it is then neither fetched nor judged. */
export function isUnused(path: string, reader: ConfigReader | undefined): boolean {
  return reader !== undefined && unused[reader].some((place) => place.test(path))
}

/** A file that a secret stands in: one that `file:` names, or the configuration itself. */
export interface SecretFile {
  /** Where in the configuration. */
  readonly path: string
  readonly file: string
}

export interface ReferenceContext {
  /** The configuration; relative paths of files count from its folder. */
  readonly file: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly reader: ConfigReader | undefined
  readonly lineOf: LineOf
  /** Takes the files that secrets stand in. */
  readonly files: SecretFile[]
  /** Takes what leads nowhere. */
  readonly problems: ConfigProblem[]
}

/** Replaces `${NAME}` within strings, and strings of the form `file:PATH`, by what they stand for. */
export function resolveReferences(
  value: unknown,
  context: ReferenceContext,
  path: readonly (string | number)[] = [],
): unknown {
  if (typeof value === 'string') return resolveString(value, context, pathText(path, context.lineOf))
  if (Array.isArray(value)) return value.map((item, index) => resolveReferences(item, context, [...path, index]))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, resolveReferences(item, context, [...path, key])]),
  )
}

function resolveString(
  text: string,
  { file: configFile, env, reader, files, problems }: ReferenceContext,
  path: string,
): string {
  // Whoever does not need a secret need not be given it.
  if (isUnused(path, reader) && isReference(text)) return standIn
  const missing = new Set<string>()
  const expanded = text.replace(variables, (_, name: string) => {
    const found = env[name] ?? ''
    if (found === '') missing.add(name)
    return found
  })
  for (const name of missing) problems.push({ path, message: `the environment variable ${name} is not set` })
  const isSecret = secrets.some((place) => place.test(path))
  // What else is wrong with the configuration can be told without a secret.
  if (missing.size > 0 && isSecret) return standIn
  if (written.some((place) => place.test(path)) && !isReference(text)) files.push({ path, file: configFile })
  // Only what the file itself says: an environment variable must not be able to name a file.
  if (!text.startsWith('file:')) return expanded
  const file = resolve(dirname(configFile), expanded.slice('file:'.length))
  try {
    const content = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    files.push({ path, file })
    return content
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    problems.push({ path, message: `the file that it names cannot be read (${code ?? 'unknown error'})` })
    return isSecret ? standIn : ''
  }
}

const variables = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g

function isReference(text: string): boolean {
  return text.startsWith('file:') || text.search(variables) !== -1
}

/** Where the name at a path stands in the file, from 1; `undefined` for what is in no file. */
export type LineOf = (path: readonly PropertyKey[]) => number | undefined

/** A path as operators read it: `proxy.routes[0].path`. */
export function pathText(path: readonly PropertyKey[], lineOf: LineOf): string {
  return path.reduce<string>((text, step, index) => {
    if (typeof step === 'number') return `${text}[${step}]`
    const name = shownName(path.slice(0, index + 1), lineOf)
    return text === '' ? name : `${text}.${name}`
  }, '')
}

/**
 * The last name of a path. One that the schema does not know may be a secret in the wrong place: only what reads like a
 * name is shown, and of all others the line that they stand in.
 */
export function shownName(path: readonly PropertyKey[], lineOf: LineOf): string {
  const name = String(path.at(-1))
  if (/^[A-Za-z_]{1,40}$/.test(name)) return name
  const line = lineOf(path)
  return line === undefined ? '(not shown)' : `(not shown, line ${line})`
}
