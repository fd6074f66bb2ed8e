import { loadConfig, loadKeyFile } from '@token-handler/shared'
import { keyFilePath } from '../key-ring-file.ts'
import { readTlsContext } from '../public-server.ts'
import { parseOnly, type CommandLine } from '../usage.ts'

/** Reads everything that a start would read, and says so when it is right. */
export async function check({ config: file, only }: CommandLine): Promise<void> {
  const config = loadConfig(file, { only: parseOnly(only), env: process.env })
  loadKeyFile(keyFilePath(file, config))
  if (config.listen.tls !== undefined) readTlsContext(config.listen.tls, file)
  process.stdout.write(`${file} is right\n`)
}
