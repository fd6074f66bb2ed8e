import { z } from 'zod'

const policy = z.enum(['off', 'report', 'deny']).default('off')

export const context = z
  .strictObject({
    network: policy.describe('A session is used from another network than that of its login: report it, or deny it.'),
    ipv4_prefix: z.int().min(8).max(32).default(24).describe('Bits of an IPv4 address that make a network.'),
    ipv6_prefix: z.int().min(16).max(128).default(56).describe('Bits of an IPv6 address that make a network.'),
    client: policy.describe('The same for another browser or platform, as its client hints or User-Agent tell.'),
  })
  .prefault({})
