import { isLoopback } from './consistency.ts'
import type { ConfigProblem } from './load.ts'
import type { Config } from './schema.ts'

/** What would let anybody but the gateways ask for tokens. */
export function checkForwardAuth({ forward_auth: forwardAuth, listen, admin }: Config): ConfigProblem[] {
  if (forwardAuth === undefined) return []
  const { listen: own, peers, gateway_secret: secret, previous_gateway_secret: previousSecret } = forwardAuth
  const problems: ConfigProblem[] = []
  const at = (key: string, message: string) => problems.push({ path: `forward_auth.${key}`, message })
  if (own.port !== 0 && own.port === listen.port) {
    at('listen.port', 'must differ from listen.port: this listener answers with tokens and is never public')
  }
  if (own.port !== 0 && own.port === admin?.port) at('listen.port', 'must differ from admin.port')
  const isOnThisMachine = (address: string): boolean => isLoopback(address.includes(':') ? `[${address}]` : address)
  if (!isOnThisMachine(own.host) && peers.every(isOnThisMachine)) {
    at('peers', 'must name the gateways where listen.host is not an address of this machine alone')
  }
  if (secret === undefined && own.tls?.client_ca_file === undefined) {
    at('gateway_secret', 'is required unless listen.tls.client_ca_file asks for client certificates')
  }
  if (previousSecret !== undefined && secret === undefined) at('gateway_secret', 'is required beside the previous one')
  return problems
}
