import { dirname } from 'node:path'
import {
  createLogger,
  openAuditLog,
  openLedger,
  Registry,
  systemClock,
  type AuditLog,
  type Config,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { configuredParts, createAdminServer, isApiOpen } from '../admin.ts'
import { keyContextOf, keyFilePath, neededPurposes, watchKeyFile } from '../key-ring-file.ts'
import { addressOf, drain, listen } from '../listener.ts'
import { exposeProcess } from '../process-metrics.ts'
import { startTokenHandler, type RunningTokenHandler } from '../token-handler.ts'
import { parseOnly, type CommandLine } from '../usage.ts'
import {
  isWorker,
  leavePrimary,
  obeyPrimary,
  reportFigures,
  reportMetrics,
  reportToPrimary,
  workerLogger,
  type Order,
} from '../worker.ts'
import { checkSharedLedger, parseWorkers, startWorkers } from '../workers.ts'
import { readConfiguration } from './check.ts'

/**
 * Runs until SIGTERM or SIGINT, then drains. SIGHUP reads the key file again. With `--workers` this process watches over
 * others that do the work.
 */
export async function start(commandLine: CommandLine): Promise<void> {
  const count = parseWorkers(commandLine.workers)
  const { config, warnings } = readConfiguration(commandLine.config, parseOnly(commandLine.only))
  const logger = createLogger(config.log.level)
  // The process that watches over workers says it for them.
  for (const { path, message } of isWorker() ? [] : warnings) logger.warn({ event: 'config_warning', path }, message)
  if (isWorker()) await work(commandLine, config, workerLogger(logger))
  else if (count === undefined) onSignals(logger, await serve(commandLine, config, logger))
  else await watchOver(count, commandLine, config, logger)
}

/** What signals, or the primary, ask for. */
interface Service {
  readonly reload: () => void
  readonly stop: () => Promise<void>
}

async function serve(
  { config: configFile, only: onlyText }: CommandLine,
  config: Config,
  logger: Logger,
): Promise<Service & { readonly running: RunningTokenHandler }> {
  const only = parseOnly(onlyText)
  const keys = watchKeyFile(keyFilePath(configFile, config), keyContextOf(config), logger, neededPurposes(only, config))
  const registry = new Registry()
  exposeProcess(registry)
  const running = await startTokenHandler({ config, configFile, keys, logger, registry, only })
  return { running, reload: () => keys.reload(), stop: () => running.close() }
}

async function work(commandLine: CommandLine, { admin: _ours, ...config }: Config, logger: Logger): Promise<void> {
  const starting = serve(commandLine, config, logger)
  let stopping: Promise<void> | undefined
  const service: Service & Record<Order, () => void> = {
    reload: () => void starting.then(({ reload }) => reload(), ignore),
    async stop() {
      stopping ??= starting.then(({ stop }) => stop())
      await stopping.then(leavePrimary, ignore)
    },
    metrics: () => void starting.then(({ running }) => reportMetrics(running), ignore),
    figures: () => void starting.then(({ running }) => reportFigures(running), ignore),
  }
  obeyPrimary((order) => void service[order]())
  const { running } = await starting
  onSignals(logger, service)
  reportToPrimary(running, addressOf(running.server))
}

async function watchOver(
  count: number,
  { config: configFile, only }: CommandLine,
  config: Config,
  logger: Logger,
): Promise<void> {
  checkSharedLedger(config)
  const pool = await startWorkers(count, logger)
  const office =
    config.admin !== undefined && isApiOpen(config.admin)
      ? await openOffice(configFile, config, logger, parseOnly(only))
      : undefined
  const figures = () => pool.figures()
  const parts = office && configuredParts(config, { ...office, clock: systemClock, logger, figures })
  const admin = config.admin && createAdminServer(config.admin, { ...pool, ...parts, logger, configFile })
  if (admin !== undefined && config.admin !== undefined) await listen(admin, config.admin)
  onSignals(logger, {
    reload: () => pool.reload(),
    async stop() {
      parts?.close()
      await pool.close()
      if (admin !== undefined) await drain(admin, 0)
      await office?.close()
    },
  })
  const adminAddress = admin === undefined ? {} : { adminAddress: addressOf(admin) }
  const fields = { event: 'workers_started', workers: count, address: pool.address, ...adminAddress }
  logger.info(fields, 'Workers listen.')
}

/** What the primary needs for the admin API: the workers have the sessions in common with whoever opens their ledger. */
async function openOffice(
  configFile: string,
  config: Config,
  logger: Logger,
  only: 'agent' | 'proxy' | undefined,
): Promise<{ readonly ledger: Ledger; readonly audit: AuditLog; close(): Promise<void> }> {
  const deps = { clock: systemClock, logger, folder: dirname(configFile) }
  const keys = watchKeyFile(keyFilePath(configFile, config), keyContextOf(config), logger, neededPurposes(only, config))
  const ledger = await openLedger(config, deps)
  const audit = openAuditLog(config, { ...deps, ring: () => keys.current() })
  return {
    ledger,
    audit,
    async close() {
      await ledger.close()
      await audit.close()
      keys.close()
    },
  }
}

function onSignals(logger: Logger, service: Service): void {
  process.on('SIGHUP', () => service.reload())
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.info({ event: 'stopping', signal }, 'Stopping.')
      void service.stop()
    })
  }
}

/** A start that failed is told by whoever waits for it. */
const ignore = (): void => undefined
