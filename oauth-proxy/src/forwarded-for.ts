import type { Peer } from '@token-handler/shared'

const nodes = /^[\w.:[\]-]+(?:[ \t]*,[ \t]*[\w.:[\]-]+)*$/
const maxChainLength = 1024

/**
 * Value of `X-Forwarded-For` towards the API: the peer, after the chain that a trusted proxy tells. Anything that another
 * client says there is dropped.
 */
export function forwardedFor({ address, isTrustedProxy }: Peer, received: string | undefined): string {
  if (!isTrustedProxy || received === undefined) return address
  return received.length <= maxChainLength && nodes.test(received) ? `${received}, ${address}` : address
}
