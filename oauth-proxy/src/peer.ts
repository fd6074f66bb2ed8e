import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv4 } from 'node:net'

/** Who is at the other end of the connection. */
export interface Peer {
  /** IP address; empty when the connection is gone already. */
  readonly address: string
  /** Whether it is one of the configured proxies, whose `X-Forwarded-For` counts. */
  readonly isTrustedProxy: boolean
}

/** @throws TypeError when an entry is neither an IP address nor a CIDR block. */
export function createPeerJudge(trustedProxies: readonly string[]): (req: IncomingMessage) => Peer {
  const trusted = buildBlockList(trustedProxies)
  // Requests of one connection come from one peer; the address is formatted and judged once.
  const peers = new WeakMap<object, Peer>()
  return ({ socket }) => {
    let peer = peers.get(socket)
    if (peer === undefined) {
      const address = plainAddress(socket.remoteAddress ?? '')
      const isTrustedProxy = isIP(address) !== 0 && trusted.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
      peer = { address, isTrustedProxy }
      peers.set(socket, peer)
    }
    return peer
  }
}

function buildBlockList(entries: readonly string[]): BlockList {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const isV4 = isIPv4(address)
    const isBlock = bits !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= (isV4 ? 32 : 128)
    if (isIP(address) === 0 || (bits !== undefined && !isBlock)) {
      throw new TypeError('trustedProxies: neither an IP address nor a CIDR block')
    }
    if (bits === undefined) list.addAddress(address, isV4 ? 'ipv4' : 'ipv6')
    else list.addSubnet(address, Number(bits), isV4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/** A socket that listens on both families shows IPv4 peers as `::ffff:192.0.2.1`. */
function plainAddress(address: string): string {
  const mapped = address.startsWith('::ffff:') ? address.slice(7) : ''
  return isIPv4(mapped) ? mapped : address
}

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
