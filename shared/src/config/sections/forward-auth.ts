import { z } from 'zod'
import { listen, tls } from './listeners.ts'

const secret = z
  .string()
  .regex(/^[\x21-\x7e]*$/, 'must be visible ASCII characters')
  .min(32, 'must be at least 32 characters; make one with `openssl rand -base64 32`')

const peer = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'must be an address or a network such as 10.0.0.0/8')
  .refine((text) => !text.endsWith('/0'), 'names everybody')

const ways = {
  nginx: 'original',
  haproxy: 'original',
  kong: 'original',
  caddy: 'forwarded',
  traefik: 'forwarded',
  envoy: 'ext_authz',
} as const

export type Gateway = keyof typeof ways

/** How each gateway tells about the original request. */
export const gatewayStyles: Readonly<Record<Gateway, (typeof ways)[Gateway]>> = ways

export const forwardAuth = z
  .strictObject({
    gateway: z
      .enum(Object.keys(ways) as [Gateway, ...Gateway[]])
      .describe('Which gateway asks: its way to tell about the original request is the only one that is believed.'),
    listen: listen
      .extend({
        tls: tls
          .extend({
            client_ca_file: z
              .string()
              .min(1)
              .optional()
              .describe('PEM of an authority of the gateways alone: their client certificates are asked for.'),
          })
          .optional()
          .describe('Terminates TLS here; changed files are read without a restart.'),
      })
      .describe('A listener of its own, for its answers hold tokens; never public.'),
    peers: z
      .array(peer)
      .min(1)
      .default(['127.0.0.1', '::1'])
      .describe('Addresses and networks of the gateways; this machine unless given.'),
    gateway_secret: secret
      .optional()
      .describe(
        'What gateways show in Token-Handler-Gateway-Secret; required without client certificates. Use ${ENV_VARIABLE} or file:PATH.',
      ),
    previous_gateway_secret: secret
      .optional()
      .describe('Is good as well, while gateways are given a new secret. Use ${ENV_VARIABLE} or file:PATH.'),
  })
  .describe('Answers gateways that ask about each request (docs/gateways.md); off unless given.')
