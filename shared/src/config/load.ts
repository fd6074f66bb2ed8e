import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { keyFileSchema, missingPurposes, type KeyFile, type Purpose } from '../key-ring.ts'
import { findContradictions, findIdleSettings } from './consistency.ts'
import {
  isUnused,
  pathText,
  resolveReferences,
  shownName,
  type ConfigReader,
  type LineOf,
  type SecretFile,
} from './references.ts'
import { parseYaml } from './yaml.ts'
import { configSchema, type Config } from './schema.ts'
import { readAsWanted } from './wanted-types.ts'

export type { SecretFile } from './references.ts'

/** One thing that is wrong, by its path in the file. Never holds a value: values may be secrets. */
export interface ConfigProblem {
  /** Such as `authorization_server.issuer`. */
  readonly path: string
  readonly message: string
}

/** All problems of a configuration at once, so that the operator mends them in one go. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]
  /** What is right of a configuration, where the rest leaves something to look at; not for use. */
  readonly rest: Config | undefined

  constructor(file: string, problems: readonly ConfigProblem[], rest?: Config) {
    const lines = problems.map(({ path, message }) => `  ${path === '' ? '(file)' : path}: ${message}`)
    super(`${file} has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${lines.join('\n')}`)
    this.problems = problems
    this.rest = rest
  }
}

export interface LoadOptions {
  /** Who reads it, if not agent and proxy together. Secrets that a reader does not use are not fetched for it. */
  readonly only?: ConfigReader | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  /** Takes the files that secrets stand in. */
  readonly files?: SecretFile[]
}

/**
 * Reads and checks a configuration file.
 * @throws ConfigError with every problem found.
 */
export function loadConfig(file: string, { only, env, files = [] }: LoadOptions): Config {
  const problems: ConfigProblem[] = []
  const { values: raw, lineOf } = parseYaml(readText(file), problems)
  if (problems.length > 0) throw new ConfigError(file, problems)
  const values = resolveReferences(raw, { file: resolve(file), env, reader: only, lineOf, files, problems })
  const { error } = configSchema.safeParse(values)
  const typed = error === undefined ? values : readAsWanted(raw, values, error.issues)
  return checkConfig(typed, { file, only, lineOf, problems })
}

/**
 * Checks configuration values that did not come from a file.
 * @throws ConfigError with every problem found.
 */
export function checkConfig(
  values: unknown,
  {
    file = 'The configuration',
    only,
    lineOf = inNoFile,
    problems = [],
  }: { file?: string; only?: LoadOptions['only']; lineOf?: LineOf; problems?: ConfigProblem[] } = {},
): Config {
  const parsed = configSchema.safeParse(values)
  // A reference that could not be resolved is one problem, not also one of type.
  const known = new Set(problems.map((problem) => problem.path))
  const add = (found: readonly ConfigProblem[]) => problems.push(...found.filter(({ path }) => !known.has(path)))
  if (!parsed.success) {
    const found = fromZod(parsed.error, lineOf)
    add(found)
    for (const { path } of found) if (path !== '') known.add(path)
  }
  const config = parsed.data ?? configSchema.safeParse(withoutMistakes(values, parsed.error?.issues ?? [])).data
  if (config !== undefined) {
    add(findContradictions(config, only).filter(({ path }) => !isUnused(path, only)))
    add(findIdleSettings(values))
  }
  if (problems.length > 0 || !parsed.success) throw new ConfigError(file, problems, config)
  return deepFreeze(parsed.data)
}

/** The values without those that are wrong, so that the rest can be looked at in the same go. */
function withoutMistakes(values: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const rest = structuredClone(values)
  for (const issue of issues) {
    const names = issue.code === 'unrecognized_keys' ? issue.keys : []
    for (const path of names.length > 0 ? names.map((name) => [...issue.path, name]) : [issue.path]) remove(rest, path)
  }
  return rest
}

/** Removes the member that a path leads to; an element of a list takes the list along. */
function remove(value: unknown, path: readonly PropertyKey[]): void {
  const last = path.findLastIndex((step) => typeof step === 'string')
  const parent = path
    .slice(0, last)
    .reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], value)
  const name = path[last]
  if (typeof parent === 'object' && parent !== null && name !== undefined) Reflect.deleteProperty(parent, name)
}

/**
 * Reads and checks a key file.
 * @param needed Purposes that every key which is not retired must serve.
 * @throws ConfigError with every problem found.
 */
export function loadKeyFile(file: string, needed: readonly Purpose[] = []): KeyFile {
  let raw: unknown
  try {
    raw = JSON.parse(readText(file))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(file, [{ path: '', message: 'is not JSON; make one with `token-handler keys generate`' }])
  }
  const parsed = keyFileSchema.safeParse(raw)
  if (!parsed.success) throw new ConfigError(file, fromZod(parsed.error))
  const problems = missingPurposes(parsed.data, needed).map(({ index, purposes }) => ({
    path: `keys[${index}].derived`,
    message: `lacks ${purposes.join(', ')}, which is needed here`,
  }))
  if (problems.length > 0) throw new ConfigError(file, problems)
  return parsed.data
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError(file, [{ path: '', message: `cannot be read (${code ?? 'unknown error'})` }])
  }
}

function fromZod(error: z.ZodError, lineOf: LineOf = inNoFile): ConfigProblem[] {
  return error.issues.map((issue) => ({ path: pathText(issue.path, lineOf), message: issueText(issue, lineOf) }))
}

function issueText(issue: z.core.$ZodIssue, lineOf: LineOf): string {
  if (issue.code === 'unrecognized_keys') {
    return `unknown key ${issue.keys.map((name) => shownName([...issue.path, name], lineOf)).join(', ')}`
  }
  if (issue.code === 'invalid_type' && issue.message.includes('received undefined')) return 'is required'
  if (issue.code === 'too_small' && issue.minimum === 1 && (issue.origin === 'string' || issue.origin === 'array')) {
    return 'must not be empty'
  }
  return issue.message.replace(/^Invalid input: /, '')
}

const inNoFile: LineOf = () => undefined

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze)
    Object.freeze(value)
  }
  return value
}
