import { z } from 'zod'

export const listen = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: z.int().min(0).max(65_535).describe('Port to listen on.'),
})

export const tls = z.strictObject({
  certificate_file: z.string().min(1).describe('PEM: the certificate, then those that lead to its root.'),
  private_key_file: z.string().min(1).describe('PEM: the private key.'),
  minimum_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.3').describe('Oldest TLS version that is taken.'),
})

export const publicListen = listen.extend({
  port: listen.shape.port.default(3000).describe('Port to listen on.'),
  tls: tls.optional().describe('Terminates TLS here; changed files are read without a restart.'),
  max_connections: z
    .int()
    .min(16)
    .max(1_000_000)
    .default(20_000)
    .describe(
      'Most open connections of one process, fewer where it may open less than twice as many files. Before they are all taken, those without a request under way are closed to make room.',
    ),
})
