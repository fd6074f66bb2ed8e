import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { writeError } from './server.ts'

/**
 * Answers a request to leave HTTP (RFC 9110 section 7.8); nothing of it goes upstream. No route has WebSockets, so their
 * handshake is refused as malformed; any other protocol, `h2c` above all, is answered with the one that could be meant.
 */
export function refuseUpgrade({ headers }: IncomingMessage, socket: Duplex): 'invalid_request' | 'upgrade_required' {
  const code = headers.upgrade?.toLowerCase() === 'websocket' ? 'invalid_request' : 'upgrade_required'
  writeError(socket, code, code === 'upgrade_required' ? ['Upgrade: websocket'] : [])
  return code
}
