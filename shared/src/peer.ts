import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv4 } from 'node:net'

/** What tells who made a request, and how: all of it, or what a gateway says of it. */
export type ReceivedRequest = Pick<IncomingMessage, 'method' | 'headers' | 'socket'>

/** Who is at the other end of the connection. */
export interface Peer {
  /** IP address; empty when the connection is gone already. */
  readonly address: string
  /** Whether it is one of the configured proxies, whose `X-Forwarded-For` counts. */
  readonly isTrustedProxy: boolean
}

/** Who makes a request: the connection tells, or a trusted proxy. */
export interface Peers {
  readonly peerOf: (req: Pick<IncomingMessage, 'socket'>) => Peer
  /**
   * IP address that the request came from. It is the peer's, unless that is a trusted proxy: then it is the last address of
   * `X-Forwarded-For` that is not one of a trusted proxy too, for what stands before it anybody may have written.
   */
  readonly clientAddressOf: (req: ReceivedRequest) => string
}

/**
 * @param trustedProxies IP addresses and CIDR blocks.
 * @throws TypeError when an entry is neither.
 */
export function createPeers(trustedProxies: readonly string[]): Peers {
  const trusted = blockListOf(trustedProxies)
  const isTrusted = (address: string): boolean => containsAddress(trusted, address)
  // Requests of one connection come from one peer; the address is formatted and judged once.
  const peers = new WeakMap<object, Peer>()
  const peerOf = ({ socket }: Pick<IncomingMessage, 'socket'>): Peer => {
    let peer = peers.get(socket)
    if (peer === undefined) {
      const address = plainAddress(socket.remoteAddress ?? '')
      peer = { address, isTrustedProxy: isTrusted(address) }
      peers.set(socket, peer)
    }
    return peer
  }
  return {
    peerOf,
    clientAddressOf(req) {
      const peer = peerOf(req)
      const chain = req.headers['x-forwarded-for']
      return peer.isTrustedProxy && chain !== undefined
        ? lastUntrusted(String(chain), peer.address, isTrusted)
        : peer.address
    },
  }
}

/** Reads the chain from its end, as far as trusted proxies wrote it. */
function lastUntrusted(chain: string, peer: string, isTrusted: (address: string) => boolean): string {
  let address = peer
  let end = chain.length
  do {
    const comma = chain.lastIndexOf(',', end - 1)
    const next = nodeAddress(chain.slice(comma + 1, end))
    if (next === undefined) return address
    address = next
    end = comma
  } while (end > 0 && isTrusted(address))
  return address
}

/** Some proxies write the port as well, and IPv6 addresses in brackets. */
const node =
  /^[ \t]*(?:\[([\d.:A-Fa-f]{2,45})\](?::\d{1,5})?|(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}|([\d.:A-Fa-f]{2,45}))[ \t]*$/

function nodeAddress(text: string): string | undefined {
  const [, bracketed, withPort, plain] = node.exec(text) ?? []
  const address = plainAddress(bracketed ?? withPort ?? plain ?? '')
  return isIP(address) === 0 ? undefined : address
}

/** @throws TypeError when an entry is neither an IP address nor a CIDR block. */
export function blockListOf(entries: readonly string[]): BlockList {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const isV4 = isIPv4(address)
    const isBlock = bits !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= (isV4 ? 32 : 128)
    if (isIP(address) === 0 || (bits !== undefined && !isBlock)) {
      throw new TypeError('neither an IP address nor a CIDR block')
    }
    if (bits === undefined) list.addAddress(address, isV4 ? 'ipv4' : 'ipv6')
    else list.addSubnet(address, Number(bits), isV4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/** Whether an address, if it is one, is on the list. */
export function containsAddress(list: BlockList, address: string): boolean {
  return isIP(address) !== 0 && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/** A socket that listens on both families shows IPv4 peers as `::ffff:192.0.2.1`. */
function plainAddress(address: string): string {
  const mapped = /^::ffff:/i.test(address) ? address.slice(7) : ''
  return isIPv4(mapped) ? mapped : address
}
