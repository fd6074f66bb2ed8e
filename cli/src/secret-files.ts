import { realpathSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config, ConfigProblem, SecretFile } from '@token-handler/shared'
import { keyFilePath } from './key-ring-file.ts'

/**
 * The files with keys and secrets that every user of the machine can read or write: told, and not refused, for Docker and
 * Kubernetes mount secrets like that by default, into containers where nobody else is.
 * @param others Where the secrets of the configuration stand.
 */
export function findOpenSecretFiles(
  file: string,
  config: Config,
  others: readonly SecretFile[],
): readonly ConfigProblem[] {
  return [...namedFiles(file, config), ...others].flatMap(({ path, file: secret }) => {
    const mode = openMode(secret)
    if (mode === undefined) return []
    const use = (mode & 0o002) === 0 ? 'read' : 'change'
    return [{ path, message: `every user of this machine can ${use} its file (mode ${mode.toString(8)})` }]
  })
}

function namedFiles(file: string, config: Config): readonly SecretFile[] {
  const { listen, admin, forward_auth: forwardAuth, proxy } = config
  const at = (path: string, name: string | undefined): SecretFile[] =>
    name === undefined ? [] : [{ path, file: resolve(dirname(file), name) }]
  return [
    { path: 'keys.file', file: keyFilePath(file, config) },
    ...at('listen.tls.private_key_file', listen.tls?.private_key_file),
    ...at('admin.tls.private_key_file', admin?.tls?.private_key_file),
    ...at('forward_auth.listen.tls.private_key_file', forwardAuth?.listen.tls?.private_key_file),
    ...proxy.routes.flatMap(({ upstream_tls: tls }, index) =>
      at(`proxy.routes[${index}].upstream_tls.private_key_file`, tls?.private_key_file),
    ),
  ]
}

/** The permissions of a file that everybody can read or write, folders above it included; else nothing. */
function openMode(file: string): number | undefined {
  try {
    const real = realpathSync(file)
    const mode = statSync(real).mode & 0o777
    return (mode & 0o006) !== 0 && isReachable(dirname(real)) ? mode : undefined
  } catch {
    // Whoever reads it says why it cannot be.
    return undefined
  }
}

function isReachable(folder: string): boolean {
  const above = dirname(folder)
  return (statSync(folder).mode & 0o001) !== 0 && (above === folder || isReachable(above))
}
