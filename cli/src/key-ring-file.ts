import { dirname, resolve } from 'node:path'
import {
  buildKeyRing,
  describeError,
  loadKeyFile,
  purposes,
  type Config,
  type KeyContext,
  type KeyFile,
  type KeyRing,
  type Logger,
  type Purpose,
} from '@token-handler/shared'
import { watchedFiles } from './watched-files.ts'

/** What came of reading the key file again. */
export interface KeyReload {
  /** Otherwise the last good ring stays in force. */
  readonly isRight: boolean
  /** Ids of the keys in force. */
  readonly kids: readonly string[]
}

/** The keys in force, replaced as a whole when the file changes. */
export interface KeyRingSource {
  current(): KeyRing
  /** Reads the file again; a file that is not right leaves the last good ring in force. */
  reload(): void
  /** Calls `listener` after every attempt to read the file again. */
  onReload(listener: (reload: KeyReload) => void): void
  close(): void
}

/** The configured key file; a relative path counts from the configuration file's folder. */
export function keyFilePath(configFile: string, { keys }: Config): string {
  return resolve(dirname(configFile), keys.file)
}

export function keyContextOf({ authorization_server: { issuer, client_id: clientId } }: Config): KeyContext {
  return { issuer, clientId }
}

/** What the keys must serve: a proxy opens access tokens, the agent seals everything, and both record unless with a key of its own. */
export function neededPurposes(
  only: 'agent' | 'proxy' | undefined,
  { audit }: Pick<Config, 'audit'>,
): readonly Purpose[] {
  const needsAudit = audit.sink !== 'off' && audit.key === undefined
  const needed = only === 'proxy' ? (['access-token', 'audit'] as const) : purposes
  return needed.filter((purpose) => purpose !== 'audit' || needsAudit)
}

/** How often the file is looked at. */
const watchIntervalMs = 2_000

/**
 * @param needed Purposes that every key must serve.
 * @throws ConfigError when the file is not right at the start.
 */
export function watchKeyFile(
  file: string,
  context: KeyContext,
  logger: Logger,
  needed: readonly Purpose[] = [],
): KeyRingSource {
  const watched = watchedFiles([file], watchIntervalMs)
  const load = () => buildKeyRing(loadKeyFile(file, needed), context)
  let ring = load()
  const listeners = new Set<(reload: KeyReload) => void>()
  const reload = (): void => {
    const isRight = tryReload()
    for (const listener of listeners) listener({ isRight, kids: ring.kids })
  }
  const tryReload = (): boolean => {
    try {
      const { kids: before } = ring
      ring = load()
      const { kids } = ring
      logger.info({ event: 'keys_reloaded', kids }, 'Key ring reloaded.')
      // After a leak that is meant; otherwise it is the wrong file, and going on with keys that are gone would be worse.
      if (!kids.some((kid) => before.includes(kid))) {
        logger.warn(
          { event: 'keys_replaced', kids, before },
          'No key that was in force is left: every cookie from before is refused. If that is not meant, put the former key file back at once.',
        )
      }
      return true
    } catch (error) {
      logger.error(
        { event: 'keys_refused', error: describeError(error) },
        'The changed key file is not right; the last good key ring stays in force.',
      )
      return false
    }
  }
  watched.watch(reload)
  return {
    current: () => ring,
    reload,
    onReload: (listener) => void listeners.add(listener),
    close: () => watched.close(),
  }
}

/** Keys that never touch a disk. */
export function fixedKeys(keyFile: KeyFile, context: KeyContext): KeyRingSource {
  const ring = buildKeyRing(keyFile, context)
  return { current: () => ring, reload() {}, onReload() {}, close() {} }
}
