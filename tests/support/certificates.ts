import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates, type Certificates } from '../../spa-example/certificates.ts'

export { makeCertificates, type Certificates }

/**
 * The Chromium switch that makes it accept these authorities and what they signed, and nothing else that it would refuse:
 * the hashes are those of the authorities' public keys, which the servers send along.
 */
export function trustSwitch(authorities: readonly string[]): string {
  const hashes = authorities.map((authority) => {
    const spki = new X509Certificate(authority).publicKey.export({ type: 'spki', format: 'der' })
    return createHash('sha256').update(spki).digest('base64')
  })
  return `--ignore-certificate-errors-spki-list=${hashes.join(',')}`
}

/** Certificates as files in a new folder, as a configuration names them. */
export function writeCertificates({ server }: Certificates): {
  folder: string
  certificateFile: string
  privateKeyFile: string
} {
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-tls-'))
  const files = { certificateFile: join(folder, 'server.pem'), privateKeyFile: join(folder, 'server.key') }
  writeFileSync(files.certificateFile, server.certificate)
  writeFileSync(files.privateKeyFile, server.privateKey)
  return { folder, ...files }
}
