import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A place for the file of one ledger. */
export interface TemporaryFile {
  readonly path: string
  /** Removes the ledger's file, as an operator does who forgets what else lies beside it. */
  remove(): void
  removeFolder(): void
}

export function temporaryFile(): TemporaryFile {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'))
  const path = join(folder, 'ledger.db')
  return {
    path,
    remove: () => rmSync(path, { force: true }),
    removeFolder: () => rmSync(folder, { recursive: true, force: true }),
  }
}
