import { describe, expect, it } from '@jest/globals'
import { networkPrefix } from '@token-handler/shared'

describe('the network of an address', () => {
  it.each([
    ['203.0.113.77', 24, '203.0.113.0/24'],
    ['203.0.113.77', 32, '203.0.113.77/32'],
    ['203.0.113.77', 26, '203.0.113.64/26'],
    ['255.255.255.255', 8, '255.0.0.0/8'],
  ])('of IPv4: %s with %i bits', (address, ipv4, network) => {
    expect(networkPrefix(address, { ipv4, ipv6: 56 })).toBe(network)
  })

  it.each([
    ['2001:db8:1:2ff:3::4', 56, '2001:db8:1:200::/56'],
    ['2001:DB8:0001:02aa:0:0:0:1', 56, '2001:db8:1:200::/56'],
    ['2001:db8::1', 56, '2001:db8::/56'],
    ['::1', 56, '::/56'],
    ['::1', 128, '::1/128'],
    ['2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 33, '2001:db8:8000::/33'],
    ['64:ff9b::203.0.113.77', 128, '64:ff9b::cb00:714d/128'],
    ['fe80::1%eth0', 64, 'fe80::/64'],
    ['::', 16, '::/16'],
  ])('of IPv6: %s with %i bits', (address, ipv6, network) => {
    expect(networkPrefix(address, { ipv4: 24, ipv6 })).toBe(network)
  })

  it.each(['', 'unknown', '203.0.113', '203.0.113.256', '2001:db8::1::2', '[::1]', '203.0.113.7:80'])(
    'of what is no address: "%s"',
    (address) => {
      expect(networkPrefix(address, { ipv4: 24, ipv6: 56 })).toBeUndefined()
    },
  )
})
