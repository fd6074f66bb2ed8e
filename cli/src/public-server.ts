import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { dirname, resolve } from 'node:path'
import { describeError, type Config, type Logger } from '@token-handler/shared'

type TlsConfig = NonNullable<Config['listen']['tls']>

/** Certificates are renewed by replacing the files; polling also sees mounted secrets change, which events miss. */
const watchIntervalMs = 2_000

/**
 * The public listener: plain HTTP behind a terminator, or TLS as configured.
 * @param configFile Relative paths count from its folder.
 */
export function createPublicServer(
  { tls }: Config['listen'],
  { configFile, options, logger }: { configFile: string; options: ServerOptions; logger: Logger },
): Server {
  if (tls === undefined) return createServer(options)
  const files = {
    cert: resolve(dirname(configFile), tls.certificate_file),
    key: resolve(dirname(configFile), tls.private_key_file),
  }
  const server = createTlsServer({ ...options, ...readContext(files, tls) })
  const reload = (): void => {
    try {
      server.setSecureContext(readContext(files, tls))
      logger.info({ event: 'certificate_reloaded' }, 'Certificate reloaded.')
    } catch (error) {
      logger.error(
        { event: 'certificate_refused', error: describeError(error) },
        'The changed certificate cannot be used; the last good one stays in force.',
      )
    }
  }
  for (const file of Object.values(files)) watchFile(file, { interval: watchIntervalMs, persistent: false }, reload)
  server.on('close', () => {
    for (const file of Object.values(files)) unwatchFile(file, reload)
  })
  return server
}

function readContext(files: { cert: string; key: string }, tls: TlsConfig) {
  return {
    cert: readFileSync(files.cert),
    key: readFileSync(files.key),
    minVersion: tls.minimum_version,
  } as const
}
