import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { keyFileSchema, loadKeyFile, lockFile, type KeyFile } from '@token-handler/shared'

/** Another command may have the file for so long. */
const lockPatienceMs = 5_000

/**
 * Changes a key file: whoever reads it sees the old one or the new one, whole, and a crash leaves either. Commands take
 * turns; the lock goes with the process that holds it, for it is one of the operating system.
 * @param change Gives the file as it was for no change.
 * @throws ConfigError, what `change` throws, and errors of the file system.
 */
export function changeKeyFile(path: string, change: (file: KeyFile) => KeyFile): KeyFile {
  // A symbolic link stays one.
  const file = realpathSync(path)
  const unlock = lockFile(`${file}.lock`, lockPatienceMs)
  try {
    const before = loadKeyFile(file)
    const after = change(before)
    if (after !== before) replace(file, keyFileSchema.parse(after))
    return after
  } finally {
    unlock()
  }
}

function replace(file: string, content: KeyFile): void {
  const { mode, uid, gid } = statSync(file)
  const fresh = `${file}.${randomBytes(6).toString('hex')}`
  const descriptor = openSync(fresh, 'wx', 0o600)
  try {
    writeFileSync(descriptor, `${JSON.stringify(content, null, 2)}\n`)
    // Whoever read the old one reads the new one, but nobody else on the machine.
    if (process.getuid?.() === 0) chownSync(fresh, uid, gid)
    chmodSync(fresh, 0o600 | (mode & 0o040))
    fsyncSync(descriptor)
    renameSync(fresh, file)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
  const folder = openSync(dirname(file), 'r')
  fsyncSync(folder)
  closeSync(folder)
}
