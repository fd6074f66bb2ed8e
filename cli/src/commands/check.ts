import { loadConfig, loadKeyFile } from '@token-handler/shared'
import { keyFilePath, neededPurposes } from '../key-ring-file.ts'
import { readTlsContext } from '../public-server.ts'
import { parseOnly, type CommandLine } from '../usage.ts'

/** Reads everything that a start would read, and says so when it is right. */
export async function check({ config: file, only: onlyText }: CommandLine): Promise<void> {
  const only = parseOnly(onlyText)
  const config = loadConfig(file, { only, env: process.env })
  loadKeyFile(keyFilePath(file, config), neededPurposes(only))
  if (config.listen.tls !== undefined) readTlsContext(config.listen.tls, file)
  process.stdout.write(`${file} is right\n`)
}
