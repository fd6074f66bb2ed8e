import { isIPv4, isIPv6 } from 'node:net'

/** The network that an address belongs to, as records show it: the /24 of IPv4, the /56 of IPv6. `undefined` for anything else. */
export function networkPrefix(address: string | undefined): string | undefined {
  if (address === undefined) return undefined
  if (isIPv4(address)) return `${address.split('.', 3).join('.')}.0/24`
  const plain = address.split('%', 1)[0] ?? ''
  if (!isIPv6(plain)) return undefined
  const [a = 0, b = 0, c = 0, d = 0] = firstGroups(plain)
  // The URL standard's form of an address: zeros shortened, small letters.
  const { hostname } = new URL(`http://[${[a, b, c, d & 0xff00].map((group) => group.toString(16)).join(':')}::]/`)
  return `${hostname.slice(1, -1)}/56`
}

function firstGroups(address: string): number[] {
  const { hostname } = new URL(`http://[${address}]/`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length
  return [...first, ...Array.from({ length: zeros }, () => '0'), ...last]
    .slice(0, 4)
    .map((group) => parseInt(group, 16))
}
