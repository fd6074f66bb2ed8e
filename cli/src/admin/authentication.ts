import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'

/**
 * Who may use the admin API: holders of a key (`Authorization: Bearer …`), by the key's name, and of a client certificate
 * that the configured authority signed, by its common name.
 * @returns The name of who asks, for the audit log, or `undefined`.
 */
export function createAuthentication(
  keys: Readonly<Record<string, string>>,
): (req: IncomingMessage) => string | undefined {
  const digests = Object.entries(keys).map(([name, key]) => ({ name, digest: digestOf(key) }))
  return (req) => {
    const { socket, headers } = req
    const { authorized = false } = socket as Partial<TLSSocket>
    if (authorized) return `certificate ${commonNameOf(socket as TLSSocket)}`
    const [, given] = /^Bearer ([\x21-\x7E]+)$/i.exec(headers.authorization ?? '') ?? []
    if (given === undefined) return undefined
    const digest = digestOf(given)
    let found: string | undefined
    // All of them, so that the time tells nothing.
    for (const key of digests) if (timingSafeEqual(key.digest, digest)) found = key.name
    return found
  }
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

function commonNameOf(socket: TLSSocket): string {
  const { subject, fingerprint256 } = socket.getPeerCertificate()
  const name: unknown = subject?.CN
  return typeof name === 'string' && /^[\w.@ -]{1,100}$/.test(name) ? name : fingerprint256
}
