import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkConfig, ConfigError, type Config, type ConfigInput, type LoadOptions } from '@token-handler/shared'

/** The least that a configuration needs. */
export const smallest: ConfigInput = {
  public_url: 'https://app.example',
  authorization_server: {
    issuer: 'https://as.example',
    client_id: 'spa',
    client_authentication: { method: 'client_secret_basic', client_secret: 'a client secret' },
    redirect_uri: 'https://app.example/callback',
  },
  keys: { file: 'keys.json' },
}

/** `smallest` with other values, merged by name all the way down; `undefined` takes a value away. */
export function configured(changes: Readonly<Record<string, unknown>>): unknown {
  return merged(smallest, changes)
}

function merged(base: unknown, changes: unknown): unknown {
  if (!isRecord(base) || !isRecord(changes)) return changes
  const names = new Set([...Object.keys(base), ...Object.keys(changes)])
  return Object.fromEntries(
    [...names]
      .map((name) => [name, name in changes ? merged(base[name], changes[name]) : base[name]] as const)
      .filter(([, value]) => value !== undefined),
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What is wrong, one `path: message` each; empty when nothing is. */
export function problemsOf(check: () => unknown): string[] {
  try {
    check()
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

export function problemsIn(changes: Readonly<Record<string, unknown>>, only?: LoadOptions['only']): string[] {
  return problemsOf((): Config => checkConfig(configured(changes), { only }))
}

/** A folder with the given files for the time of `work`. */
export function withFiles<Result>(files: Readonly<Record<string, string>>, work: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'configuration-'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    return work(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
