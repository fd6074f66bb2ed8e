import { closeSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

/**
 * Takes a lock that goes with the process that holds it: SQLite's, for no other kind comes with Node and is released when its
 * holder dies. The file is empty, and stays.
 * @param patienceMs How long to wait for another holder.
 * @returns What gives it back.
 * @throws The error of SQLite, `SQLITE_BUSY` where somebody else has it, or that of the file system.
 */
export function lockFile(path: string, patienceMs: number): () => void {
  closeSync(openSync(path, 'a', 0o600))
  const database = new DatabaseSync(path, { timeout: patienceMs })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    throw error
  }
  return () => database.close()
}
