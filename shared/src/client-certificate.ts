import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/**
 * The certificate of a client that the listener's authority signed; a resumed session carries what its first handshake
 * showed. `authorized` alone does not do: up to Node 24.11 and 26.5 at least it is true of
 * a resumed session without any, from 24.22 and 26.10 on it is not.
 */
export function clientCertificateOf(socket: Partial<TLSSocket>): X509Certificate | undefined {
  return socket.authorized === true ? socket.getPeerX509Certificate?.() : undefined
}
