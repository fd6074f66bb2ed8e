import { isIPv4, isIPv6 } from 'node:net'

/** Lengths of the prefixes that make a network, in bits. */
export interface PrefixLengths {
  readonly ipv4: number
  readonly ipv6: number
}

/**
 * The network that an address belongs to, such as `203.0.113.0/24` or `2001:db8:1::/56`: one text for every way to write
 * the address. `undefined` when it is none.
 */
export function networkPrefix(address: string, { ipv4, ipv6 }: PrefixLengths): string | undefined {
  if (isIPv4(address)) return `${masked(address.split('.').map(Number), ipv4, 8).join('.')}/${ipv4}`
  const plain = address.split('%', 1)[0] ?? ''
  if (!isIPv6(plain)) return undefined
  const groups = masked(groupsOf(plain), ipv6, 16).map((group) => group.toString(16))
  return `${new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)}/${ipv6}`
}

/** The eight groups of an IPv6 address, in its canonical form (RFC 5952), which has no dotted decimals. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const read = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const [first, last] = [read(head), read(tail ?? '')]
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last]
}

/** Keeps so many bits of numbers that have `width` bits each. */
function masked(numbers: readonly number[], bits: number, width: number): number[] {
  return numbers.map((number, index) => {
    const kept = Math.min(width, Math.max(0, bits - index * width))
    return number & (((1 << kept) - 1) << (width - kept))
  })
}
