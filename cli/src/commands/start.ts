import { createLogger } from '@token-handler/shared'
import { keyContextOf, keyFilePath, neededPurposes, watchKeyFile } from '../key-ring-file.ts'
import { startTokenHandler } from '../token-handler.ts'
import { parseOnly, type CommandLine } from '../usage.ts'
import { readConfiguration } from './check.ts'

/** Runs until SIGTERM or SIGINT, then drains. SIGHUP reads the key file again. */
export async function start({ config: file, only: onlyText }: CommandLine): Promise<void> {
  const only = parseOnly(onlyText)
  const config = readConfiguration(file, only)
  const logger = createLogger(config.log.level)
  const keys = watchKeyFile(keyFilePath(file, config), keyContextOf(config), logger, neededPurposes(only))
  const running = await startTokenHandler({ config, configFile: file, keys, logger, only })
  process.on('SIGHUP', () => keys.reload())
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.info({ event: 'stopping', signal }, 'Stopping.')
      void running.close()
    })
  }
}
