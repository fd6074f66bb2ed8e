import { X509Certificate } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'selfsigned'

/** A certificate and its private key, both as PEM. */
export interface KeyPair {
  readonly certificate: string
  readonly privateKey: string
}

/** What a TLS server needs, and what whoever trusts it needs. */
export interface Certificates {
  /** PEM of the certificate authority: import this one. Its private key is gone when this is returned. */
  readonly authority: string
  /** The server's certificate, followed by the authority's, and the server's private key. */
  readonly server: KeyPair
}

const dayMs = 86_400_000
const lifetimeDays = 90

/**
 * Makes a certificate authority that signs one server certificate and then forgets its key, so that trusting it cannot
 * be turned against anybody.
 * @param names DNS names of the server, wildcards included.
 * @param purpose What the certificate shows: a server, or a client that connects to one.
 * @param madeAt When the server's certificate begins to be valid, for tests of expired ones.
 */
export async function makeCertificates(
  names: readonly string[],
  purpose: 'serverAuth' | 'clientAuth' = 'serverAuth',
  madeAt: Date = aLittleAgo(),
): Promise<Certificates> {
  // The library's own default is SHA-1, and without extensions nothing may sign anything.
  const common = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const
  const authority = await generate([{ name: 'commonName', value: 'Token Handler demo (this machine only)' }], {
    ...common,
    ...validFrom(aLittleAgo()),
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  const server = await generate([{ name: 'commonName', value: names[0] ?? '' }], {
    ...common,
    ...validFrom(madeAt),
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', [purpose]: true },
      { name: 'subjectAltName', altNames: names.map((value) => ({ type: 2 as const, value })) },
    ],
  })
  return {
    authority: withFinalNewline(authority.cert),
    server: {
      certificate: withFinalNewline(server.cert) + withFinalNewline(authority.cert),
      privateKey: withFinalNewline(server.private),
    },
  }
}

/** Not now, for clocks differ. */
function aLittleAgo(): Date {
  return new Date(Date.now() - 3_600_000)
}

function validFrom(notBeforeDate: Date): { notBeforeDate: Date; notAfterDate: Date } {
  return { notBeforeDate, notAfterDate: new Date(notBeforeDate.getTime() + lifetimeDays * dayMs) }
}

function withFinalNewline(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}

/** Certificates on disk. */
export interface CertificateFiles {
  /** Import this one. */
  readonly authority: string
  readonly certificate: string
  readonly privateKey: string
}

/**
 * The certificates of a folder, made anew when they are missing, about to expire, or for other names: whoever imported
 * the authority once need not do so at every start.
 * @throws Error when the folder belongs to somebody else, who could then read the private key or plant an authority.
 */
export async function keepCertificates(folder: string, names: readonly string[]): Promise<CertificateFiles> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  refuseForeignFolder(folder)
  chmodSync(folder, 0o700)
  const files: CertificateFiles = {
    authority: join(folder, 'authority.pem'),
    certificate: join(folder, 'server.pem'),
    privateKey: join(folder, 'server.key'),
  }
  if (!areUsable(files, names)) {
    const { authority, server } = await makeCertificates(names)
    for (const file of [files.authority, files.certificate, files.privateKey]) rmSync(file, { force: true })
    writeFileSync(files.privateKey, server.privateKey, { mode: 0o600 })
    writeFileSync(files.certificate, server.certificate)
    writeFileSync(files.authority, authority)
  }
  return files
}

function refuseForeignFolder(folder: string): void {
  const found = lstatSync(folder)
  if (!found.isDirectory() || (process.getuid !== undefined && found.uid !== process.getuid())) {
    throw new Error(`${folder} exists and belongs to somebody else: remove it`)
  }
}

function areUsable({ authority, certificate, privateKey }: CertificateFiles, names: readonly string[]): boolean {
  try {
    const leaf = new X509Certificate(readFileSync(certificate))
    const issuer = new X509Certificate(readFileSync(authority))
    readFileSync(privateKey)
    const isSigned = leaf.verify(issuer.publicKey)
    const isForNames = leaf.subjectAltName === names.map((name) => `DNS:${name}`).join(', ')
    return isSigned && isForNames && Date.parse(leaf.validTo) > Date.now() + dayMs
  } catch {
    return false
  }
}
