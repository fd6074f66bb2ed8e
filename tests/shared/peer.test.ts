import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from '@jest/globals'
import { createPeers } from '@token-handler/shared'

const { peerOf, clientAddressOf } = createPeers(['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48'])

function request(remoteAddress: string | undefined, chain?: string): IncomingMessage {
  const headers = chain === undefined ? {} : { 'x-forwarded-for': chain }
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage
}

describe('the peer', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['::ffff:10.1.2.3', '10.1.2.3', true],
    ['2001:db8:1::5', '2001:db8:1::5', true],
    ['2001:db8:2::5', '2001:db8:2::5', false],
    ['127.0.0.2', '127.0.0.2', false],
    [undefined, '', false],
  ])('%s is %s, a trusted proxy: %p', (remoteAddress, address, isTrustedProxy) => {
    expect(peerOf(request(remoteAddress))).toEqual({ address, isTrustedProxy })
  })

  it.each(['proxy.internal', '10.0.0.0/33', '10.0.0.0/', ''])('cannot be trusted as "%s"', (entry) => {
    expect(() => createPeers([entry])).toThrow(TypeError)
  })
})

describe('the client’s address', () => {
  it.each([
    ['nobody we trust says anything', '192.0.2.1', undefined, '192.0.2.1'],
    ['a client that writes the header itself', '192.0.2.1', '203.0.113.9', '192.0.2.1'],
    ['a client that claims to be a trusted proxy', '192.0.2.1', '203.0.113.9, 10.0.0.1', '192.0.2.1'],
    ['a trusted proxy without the header', '10.0.0.1', undefined, '10.0.0.1'],
    ['a trusted proxy', '10.0.0.1', '192.0.2.1', '192.0.2.1'],
    ['two trusted proxies', '10.0.0.1', '192.0.2.1, 10.0.0.2', '192.0.2.1'],
    ['what a client wrote before a trusted proxy did', '10.0.0.1', '203.0.113.9, 192.0.2.1', '192.0.2.1'],
    ['a chain of trusted proxies alone', '10.0.0.1', '10.0.0.3,10.0.0.2', '10.0.0.3'],
    ['an IPv6 address', '10.0.0.1', '2001:db8::1', '2001:db8::1'],
    ['an IPv4 address in IPv6 clothes', '10.0.0.1', '::FFFF:192.0.2.1', '192.0.2.1'],
    ['addresses with ports', '10.0.0.1', '192.0.2.1:4711, 10.0.0.2:80', '192.0.2.1'],
    ['an IPv6 address with a port', '10.0.0.1', '[2001:db8::1]:443', '2001:db8::1'],
    ['an IPv6 address in brackets', '10.0.0.1', '[2001:db8::1]', '2001:db8::1'],
    ['no address', '10.0.0.1', 'unknown', '10.0.0.1'],
    ['no address before a trusted proxy', '10.0.0.1', '192.0.2.1, _hidden, 10.0.0.2', '10.0.0.2'],
    ['an empty header', '10.0.0.1', '', '10.0.0.1'],
    ['a comma', '10.0.0.1', ',', '10.0.0.1'],
    ['a comma at the beginning', '10.0.0.1', ',10.0.0.2', '10.0.0.2'],
    ['a comma at the end', '10.0.0.1', '192.0.2.1,', '10.0.0.1'],
    ['numbers that are no address', '10.0.0.1', '999.0.2.1', '10.0.0.1'],
  ])('is read right with %s', (_what, remoteAddress, chain, expected) => {
    expect(clientAddressOf(request(remoteAddress, chain))).toBe(expected)
  })
})
