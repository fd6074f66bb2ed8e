import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { dirname, resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { ConfigError, describeError, type Config, type Logger } from '@token-handler/shared'
import { watchedFiles } from './watched-files.ts'

type TlsConfig = NonNullable<NonNullable<Config['admin']>['tls']>
type ForwardAuthListen = NonNullable<Config['forward_auth']>['listen']
type FileKey = 'certificate_file' | 'private_key_file' | 'client_ca_file'

/** Which part of the configuration a listener is. */
export type ListenerSection = 'listen' | 'admin' | 'forward_auth.listen'

/** What a handshake needs: PEM, and the lowest version spoken. */
interface TlsContext {
  readonly cert: Buffer
  readonly key: Buffer
  readonly minVersion: TlsConfig['minimum_version']
  readonly ca?: Buffer
}

/** Certificates are renewed by replacing the files. */
const watchIntervalMs = 500

export interface ListenerOptions {
  readonly configFile: string
  readonly options: ServerOptions
  readonly logger: Logger
  /** `listen` unless given. */
  readonly section?: ListenerSection
}

/**
 * A listener: plain HTTP behind a terminator, or TLS as configured. Where client certificates are configured they are asked
 * for, and who has none may connect nevertheless: the request is judged, not the connection.
 * @param configFile Relative paths count from its folder.
 * @throws ConfigError when the certificate or its key is not right at the start.
 */
export function createPublicServer(
  listener: Config['listen'] | NonNullable<Config['admin']> | ForwardAuthListen,
  { configFile, options, logger, section = 'listen' }: ListenerOptions,
): Server {
  const tls: TlsConfig | undefined = listener.tls
  if (tls === undefined) return createServer(options)
  const files = watchedFiles(
    [tls.certificate_file, tls.private_key_file, tls.client_ca_file]
      .filter((file) => file !== undefined)
      .map((file) => resolve(dirname(configFile), file)),
    watchIntervalMs,
  )
  const clients = tls.client_ca_file === undefined ? {} : { requestCert: true, rejectUnauthorized: false }
  // Node waits for two minutes unless told, the handshake being no part of the request's header.
  const handshakeTimeout = options.headersTimeout ?? 20_000
  const secure = { ...clients, ...readTlsContext(tls, configFile, section), handshakeTimeout }
  const server = createTlsServer({ ...options, ...secure })
  const reload = (): void => {
    try {
      // New handshakes only: connections that are open go on.
      server.setSecureContext(readTlsContext(tls, configFile, section))
      logger.info({ event: 'certificate_reloaded' }, 'Certificate reloaded.')
    } catch (error) {
      logger.error(
        { event: 'certificate_refused', error: describeError(error) },
        'The changed certificate cannot be used; the last good one stays in force.',
      )
    }
  }
  files.watch(reload)
  server.on('close', () => files.close())
  return server
}

/**
 * Reads certificate and key, and tries them.
 * @throws ConfigError that names what is wrong, never what is in the files.
 */
export function readTlsContext(tls: TlsConfig, configFile: string, section: ListenerSection = 'listen'): TlsContext {
  const read = (key: FileKey): Buffer => attempt(key, () => readFileSync(resolve(dirname(configFile), tls[key] ?? '')))
  const context: TlsContext = {
    cert: read('certificate_file'),
    key: read('private_key_file'),
    minVersion: tls.minimum_version,
    ...(tls.client_ca_file === undefined ? {} : { ca: read('client_ca_file') }),
  }
  // Without this an empty file passes, and every handshake fails.
  const isPair = attempt('certificate_file', () => new X509Certificate(context.cert)).checkPrivateKey(
    attempt('private_key_file', () => createPrivateKey(context.key)),
  )
  if (!isPair) refuse('private_key_file', 'does not belong to the certificate')
  const { ca } = context
  if (ca !== undefined) attempt('client_ca_file', () => new X509Certificate(ca))
  attempt('certificate_file', () => createSecureContext(context))
  return context

  function attempt<T>(key: FileKey, use: () => T): T {
    try {
      return use()
    } catch (error) {
      const { code = 'unknown error' } = error as NodeJS.ErrnoException
      return refuse(key, `cannot be used (${code})`)
    }
  }

  function refuse(key: FileKey, message: string): never {
    throw new ConfigError(configFile, [{ path: `${section}.tls.${key}`, message }])
  }
}
