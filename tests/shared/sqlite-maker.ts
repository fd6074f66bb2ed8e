/**
 * Makes the file of a ledger, and says what another process found that tried to open it while this one was still removing
 * what lay there before.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { fileURLToPath } from 'node:url'

const [path = '', role] = process.argv.slice(2)
const remove = fs.rmSync
fs.rmSync = (...args) => {
  fs.rmSync = remove
  syncBuiltinESMExports()
  if (role === 'maker') {
    const program = [...process.execArgv, fileURLToPath(import.meta.url), path, 'other']
    process.stdout.write(spawnSync(process.execPath, program, { encoding: 'utf8' }).stdout)
  }
  remove(...args)
}
syncBuiltinESMExports()

const { openSqliteFile } = await import('../../shared/src/ledger/sqlite-file.ts')
const { sqliteFault } = await import('../../shared/src/ledger/sqlite-fault.ts')
try {
  openSqliteFile(path, { now: Date.now(), renewed: () => undefined }).database.close()
  process.stdout.write(`${role}: opened\n`)
} catch (error) {
  process.stdout.write(`${role}: ${sqliteFault(error)}\n`)
}
