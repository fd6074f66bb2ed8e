import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { RouteOptions } from '@token-handler/oauth-proxy'
import { ConfigError, type Config } from '@token-handler/shared'

type UpstreamTlsConfig = Config['proxy']['routes'][number]['upstream_tls']

/**
 * Reads whom to trust and who we are towards an API, and tries it.
 * @throws ConfigError that names what is wrong, never what is in the files.
 */
export function readUpstreamTls(tls: UpstreamTlsConfig, path: string, configFile: string): RouteOptions['upstreamTls'] {
  if (tls === undefined) return undefined
  const read = (key: 'ca_file' | 'certificate_file' | 'private_key_file', check: (pem: string) => unknown) => {
    const file = tls[key]
    if (file === undefined) return undefined
    try {
      const pem = readFileSync(resolve(dirname(configFile), file), 'utf8')
      check(pem)
      return pem
    } catch (error) {
      const { code = 'unknown error' } = error as NodeJS.ErrnoException
      throw new ConfigError(configFile, [{ path: `${path}.${key}`, message: `cannot be used (${code})` }])
    }
  }
  const ca = read('ca_file', (pem) => new X509Certificate(pem))
  const cert = read('certificate_file', (pem) => new X509Certificate(pem))
  const key = read('private_key_file', (pem) => createPrivateKey(pem))
  if (cert !== undefined && key !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    const message = 'does not belong to the certificate'
    throw new ConfigError(configFile, [{ path: `${path}.private_key_file`, message }])
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tls.server_name === undefined ? {} : { servername: tls.server_name }),
  }
}
