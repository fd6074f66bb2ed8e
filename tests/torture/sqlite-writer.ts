/**
 * `node sqlite-writer.ts FILE sqlite_lock|sqlite_crash MS`: another process that writes to the ledger's file. It holds the
 * write lock for a while and gives it back, or dies within a transaction that is larger than its cache, so that
 * uncommitted pages are in the log.
 */
import { DatabaseSync } from 'node:sqlite'

const [file = '', kind = '', ms = '0'] = process.argv.slice(2)
const database = new DatabaseSync(file, { timeout: 60_000 })
database.exec('PRAGMA cache_size = 10; BEGIN IMMEDIATE')
if (kind === 'sqlite_crash') {
  const insert = database.prepare('INSERT INTO session VALUES (?, ?, 0)')
  for (let row = 0; row < 200; row++) insert.run(`nobody-${row}`, 'x'.repeat(5000))
}
setTimeout(() => {
  if (kind === 'sqlite_crash') process.kill(process.pid, 'SIGKILL')
  database.exec('ROLLBACK')
  database.close()
}, Number(ms))
