import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { clientCertificateOf, createPeers } from '@token-handler/shared'
import type { ForwardAuthOptions } from './options.ts'
import { countNamed } from './request-headers.ts'

/** Header in which a gateway shows its secret. */
export const gatewaySecretHeader = 'token-handler-gateway-secret'

/** What a caller lacks: its address, the secret, or a client certificate. */
export type GatewayRefusal = 'peer' | 'secret' | 'certificate'

/**
 * Tells gateways from everybody else: by address, and by secret, by client certificate, or by both where both are configured.
 * @throws TypeError when neither is configured.
 */
export function createGatewayCheck({
  peers,
  secrets,
  clientCertificate,
}: ForwardAuthOptions): (req: IncomingMessage) => GatewayRefusal | undefined {
  if (secrets.length === 0 && !clientCertificate) throw new TypeError('forward auth needs a secret or a certificate')
  const { peerOf } = createPeers(peers)
  const digests = secrets.map(digest)
  const hasSecret = ({ rawHeaders, headers }: IncomingMessage): boolean => {
    const shown = headers[gatewaySecretHeader]
    if (typeof shown !== 'string' || countNamed(rawHeaders, gatewaySecretHeader) !== 1) return false
    const hash = digest(shown)
    // All of them, in constant time each: how long it takes tells nothing.
    return digests.filter((known) => timingSafeEqual(known, hash)).length > 0
  }
  return (req) => {
    if (!peerOf(req).isTrustedProxy) return 'peer'
    if (clientCertificate && clientCertificateOf(req.socket as Partial<TLSSocket>) === undefined) return 'certificate'
    return secrets.length === 0 || hasSecret(req) ? undefined : 'secret'
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'latin1').digest()
}
