import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates, type Certificates } from '../../spa-example/certificates.ts'

export { makeCertificates, type Certificates }

/**
 * The Chromium switch that makes it accept this authority and what it signed, and nothing else that it would refuse: the
 * hash is that of the authority's public key, which the server sends along.
 */
export function trustSwitch(authority: string): string {
  const spki = new X509Certificate(authority).publicKey.export({ type: 'spki', format: 'der' })
  return `--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`
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
