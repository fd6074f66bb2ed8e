import { existsSync, writeFileSync } from 'node:fs'
import { exportKeyFile, generateKeyFile, loadConfig, loadKeyFile, type KeyFile } from '@token-handler/shared'
import { keyContextOf, keyFilePath } from '../key-ring-file.ts'
import { UsageError, type CommandLine } from '../usage.ts'
import { activate, addKey, configured, retire } from './key-rotation.ts'

/** `keys generate | list | export | add | activate | retire` */
export async function keys(line: CommandLine): Promise<void> {
  const [action, ...more] = line.args
  if (action === 'activate') await activate(line)
  else if (action === 'retire') await retire(line)
  else if (more.length > 0) throw new UsageError(`keys ${action} takes no "${more[0]}"`)
  else if (action === 'generate') writeKeyFile(generateKeyFile(new Date()), line.out)
  else if (action === 'list') listKeys(line)
  else if (action === 'export') exportKeys(line)
  else if (action === 'add') addKey(line)
  else throw new UsageError('keys takes generate, list, export, add, activate or retire')
}

function listKeys(line: CommandLine): void {
  // Whoever has nothing but the file can list it.
  const path = line.file ?? configured(line).path
  for (const { kid, state, created, derived } of loadKeyFile(path).keys) {
    const purposes =
      state === 'retired' ? '-' : derived === undefined ? 'all purposes' : Object.keys(derived).join(', ')
    process.stdout.write(`${kid.padEnd(16)}  ${state.padEnd(9)}  ${created ?? '-'}  ${purposes}\n`)
  }
}

function exportKeys({ config: file, purpose, out }: CommandLine): void {
  if (purpose !== 'access-token' && purpose !== 'audit') {
    throw new UsageError('keys export needs --purpose access-token or --purpose audit')
  }
  const config = loadConfig(file, { only: 'command', env: process.env })
  const keyFile = loadKeyFile(keyFilePath(file, config))
  // A proxy records, too; who only verifies the records opens no cookie.
  const exported = purpose === 'audit' ? ([purpose] as const) : ([purpose, 'audit'] as const)
  writeKeyFile(exportKeyFile(keyFile, exported, keyContextOf(config)), out)
}

/** Never overwrites: a lost key file logs everybody out. */
function writeKeyFile(keyFile: KeyFile, out: string | undefined): void {
  const text = `${JSON.stringify(keyFile, null, 2)}\n`
  if (out === undefined) process.stdout.write(text)
  else if (existsSync(out)) throw new UsageError(`${out} exists already; choose another name`)
  else writeFileSync(out, text, { mode: 0o600, flag: 'wx' })
}
