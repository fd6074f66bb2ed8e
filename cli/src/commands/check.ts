import { X509Certificate } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import {
  ConfigError,
  loadConfig,
  loadKeyFile,
  type Config,
  type ConfigProblem,
  type SecretFile,
} from '@token-handler/shared'
import { keyFilePath, neededPurposes } from '../key-ring-file.ts'
import { readTlsContext } from '../public-server.ts'
import { findOpenSecretFiles } from '../secret-files.ts'
import { callbackScripts } from '../spa.ts'
import { readUpstreamTls } from '../upstream-tls.ts'
import { parseOnly, type CommandLine } from '../usage.ts'

/** Reads everything that a start reads, and says so when it is right. */
export async function check({ config: file, only }: CommandLine): Promise<void> {
  const { warnings } = readConfiguration(file, parseOnly(only))
  for (const { path, message } of warnings) process.stderr.write(`warning: ${path}: ${message}\n`)
  process.stdout.write(`${file} is right\n`)
}

/** A configuration that is right, and what is unwise about it. */
export interface CheckedConfiguration {
  readonly config: Config
  readonly warnings: readonly ConfigProblem[]
}

/**
 * The configuration, after a look at all files that it names.
 * @throws ConfigError, or an AggregateError of several, one for each file that is not right.
 */
export function readConfiguration(file: string, only: 'agent' | 'proxy' | undefined): CheckedConfiguration {
  const mistakes: ConfigError[] = []
  const secretFiles: SecretFile[] = []
  let config: Config
  try {
    config = loadConfig(file, { only, env: process.env, files: secretFiles })
  } catch (error) {
    if (!(error instanceof ConfigError) || error.rest === undefined) throw error
    // All in one go: the files too.
    mistakes.push(error)
    config = error.rest
  }
  const { tls } = config.listen
  const adminTls = config.admin?.tls
  const forwardAuthTls = config.forward_auth?.listen.tls
  const refusals = [
    () => loadKeyFile(keyFilePath(file, config), neededPurposes(only, config)),
    () => tls !== undefined && readTlsContext(tls, file),
    () => adminTls !== undefined && readTlsContext(adminTls, file, 'admin'),
    () => forwardAuthTls !== undefined && readTlsContext(forwardAuthTls, file, 'forward_auth.listen'),
    () => checkSpaFolder(file, config),
    () => checkLedgerFile(file, config),
    () => checkAuditFolder(file, config),
    ...(only === 'agent' ? [] : config.proxy.routes).map(
      (route, index) => () => readUpstreamTls(route.upstream_tls, `proxy.routes[${index}].upstream_tls`, file),
    ),
  ].flatMap(refusalOf)
  refusals.unshift(...mistakes)
  const [first] = refusals
  if (refusals.length > 1) throw new AggregateError(refusals, refusals.map(({ message }) => message).join('\n'))
  if (first !== undefined) throw first
  return { config, warnings: findOpenSecretFiles(file, config, secretFiles) }
}

function refusalOf(read: () => unknown): ConfigError[] {
  try {
    read()
    return []
  } catch (error) {
    if (error instanceof ConfigError) return [error]
    throw error
  }
}

function checkSpaFolder(file: string, { spa }: Config): void {
  if (spa === undefined || !('root' in spa)) return
  const folder = resolve(dirname(file), spa.root)
  const problems: ConfigProblem[] = []
  const at = (message: string) => void problems.push({ path: 'spa.root', message })
  const read = (name: string, what: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8')
    } catch (error) {
      at(`${what} cannot be read (${codeOf(error)})`)
      return ''
    }
  }
  read('index.html', 'index.html in it')
  const callback = read('callback.html', 'callback.html in it')
  const scripts = callbackScripts(callback)
  if (callback !== '' && scripts.length === 0) {
    at('callback.html in it names no script by a path that begins with / and ends with .js')
  }
  for (const script of scripts) read(script, `${script}, which callback.html runs,`)
  if (problems.length > 0) throw new ConfigError(file, problems)
}

/** The folder that records are written into, or the nearest one above it, in which it will be made. */
function checkAuditFolder(file: string, { audit }: Config): void {
  if (audit.sink !== 'files') return
  const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)))
  try {
    // The slash at the end asks for a folder.
    accessSync(`${nearest(resolve(dirname(file), audit.folder))}/`, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new ConfigError(file, [{ path: 'audit.folder', message: `cannot be used (${codeOf(error)})` }])
  }
}

function codeOf(error: unknown): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException
  return code
}

/** The certificates that a Redis is trusted by, or the folder that SQLite writes into. */
function checkLedgerFile(file: string, { ledger }: Config): void {
  const at = (path: string): string => resolve(dirname(file), path)
  const usable = (key: string, use: () => unknown): void => {
    try {
      use()
    } catch (error) {
      throw new ConfigError(file, [{ path: `ledger.${key}`, message: `cannot be used (${codeOf(error)})` }])
    }
  }
  if (ledger.type === 'sqlite') {
    usable('file', () => accessSync(dirname(at(ledger.file)), constants.W_OK))
  } else if (ledger.type === 'redis' && ledger.ca_file !== undefined) {
    const caFile = at(ledger.ca_file)
    usable('ca_file', () => new X509Certificate(readFileSync(caFile)))
  }
}
