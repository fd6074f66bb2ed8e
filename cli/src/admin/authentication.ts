import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { clientCertificateOf } from '@token-handler/shared'

/**
 * Who may use the admin API: holders of a key (`Authorization: Bearer …`), by the key's name, and of a client certificate
 * that the configured authority signed, by its common name.
 * @returns The name of who asks, for the audit log, or `undefined`.
 */
export function createAuthentication(
  keys: Readonly<Record<string, string>>,
): (req: IncomingMessage) => string | undefined {
  const holderOf = createKeyHolders(keys)
  return (req) => {
    const certificate = certificateNameOf(req)
    if (certificate !== undefined) return certificate
    const [, given] = /^Bearer ([\x21-\x7E]+)$/i.exec(req.headers.authorization ?? '') ?? []
    return given === undefined ? undefined : holderOf(given)
  }
}

/** @returns Whose key something is, if it is one; how long that takes tells nothing. */
export function createKeyHolders(keys: Readonly<Record<string, string>>): (given: string) => string | undefined {
  const digests = Object.entries(keys).map(([name, key]) => ({ name, digest: digestOf(key) }))
  return (given) => {
    const digest = digestOf(given)
    let found: string | undefined
    // All of them, so that the time tells nothing.
    for (const key of digests) if (timingSafeEqual(key.digest, digest)) found = key.name
    return found
  }
}

/** @returns Who the client certificate of the connection names; `undefined` without one that the authority signed. */
export function certificateNameOf({ socket }: IncomingMessage): string | undefined {
  return clientCertificateOf(socket as Partial<TLSSocket>) === undefined
    ? undefined
    : `certificate ${commonNameOf(socket as TLSSocket)}`
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

function commonNameOf(socket: TLSSocket): string {
  const { subject, fingerprint256 } = socket.getPeerCertificate()
  const name: unknown = subject?.CN
  return typeof name === 'string' && /^[\w.@ -]{1,100}$/.test(name) ? name : fingerprint256
}
