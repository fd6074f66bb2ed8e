import { networkPrefix as prefixOf } from '../network.ts'

/** The network that an address belongs to, as records show it: the /24 of IPv4, the /56 of IPv6. `undefined` for anything else. */
export function networkPrefix(address: string | undefined): string | undefined {
  return address === undefined ? undefined : prefixOf(address, { ipv4: 24, ipv6: 56 })
}
