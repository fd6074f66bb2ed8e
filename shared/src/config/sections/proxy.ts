import { z } from 'zod'
import {
  httpUrl,
  longestTimerSeconds,
  publicPath,
  rateLimitFields,
  roleName,
  scopeToken,
  timeoutSeconds,
} from './values.ts'

const method = z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

const route = z.strictObject({
  path: publicPath.describe('Public path; matches itself and everything below it. The longest match wins.'),
  upstream: httpUrl
    .refine((text) => URL.canParse(text) && new URL(text).href === `${new URL(text).origin}/`, {
      error: 'must be scheme, host and port only; a path goes to upstream_path',
    })
    .describe('Scheme, host and port of the API.'),
  upstream_tls: z
    .strictObject({
      ca_file: z.string().min(1).optional().describe('PEM: authorities to trust in place of the well-known ones.'),
      certificate_file: z.string().min(1).optional().describe('PEM: our certificate, where the API asks for one.'),
      private_key_file: z.string().min(1).optional().describe('PEM: the key of our certificate.'),
      server_name: z.string().min(1).optional().describe('Name in the certificate of the API, if not its host.'),
    })
    .optional()
    .describe('TLS towards the API, read at the start; for an https upstream.'),
  upstream_path: publicPath
    .optional()
    .describe('Replaces the matched path towards the API; without it the path goes on unchanged.'),
  methods: z
    .array(method)
    .min(1)
    .default(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
    .describe('Methods that may pass.'),
  session: z
    .enum(['required', 'none'])
    .default('required')
    .describe('none: no session, no bearer token; the guards still apply.'),
  scopes: z.array(scopeToken).default([]).describe('Scopes the session must have been granted.'),
  roles: z.array(roleName).default([]).describe('Roles, one of which the user must have.'),
  claims: z
    .record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()])).min(1))
    .default({})
    .describe('ID-token claims and their accepted values.'),
  acr_values: z.array(z.string().min(1)).default([]).describe('Accepted authentication contexts.'),
  max_age: z.int().min(1).optional().describe('Longest time in seconds since the user authenticated.'),
  background: z
    .boolean()
    .default(false)
    .describe('The SPA calls it without its user, as a poll: such calls do not move the idle deadline.'),
  navigable: z.boolean().default(false).describe('May be opened as a page of its own, such as a download.'),
  embeddable: z.boolean().default(false).describe('May be shown in a frame.'),
  sandbox: z.boolean().default(true).describe('Answers carry Content-Security-Policy: sandbox.'),
  websocket: z.boolean().default(false).describe('Whether a request may become a WebSocket.'),
  streams: z
    .strictObject({
      at_token_expiry: z
        .enum(['keep', 'close'])
        .default('keep')
        .describe('close ends event streams and WebSockets with the access cookie; keep leaves them to the session.'),
      max_duration_seconds: z
        .int()
        .min(1)
        .max(longestTimerSeconds)
        .optional()
        .describe('Longest life of one event stream or WebSocket; the longest session unless given.'),
    })
    .prefault({})
    .describe('What ends event streams and WebSockets, besides the end of their session.'),
  forward_cookies: z.array(z.string().min(1)).default([]).describe('Names of other cookies that the API gets.'),
  max_body_bytes: z
    .int()
    .min(0)
    .optional()
    .describe('Largest request body; unlimited unless given, for bodies are streamed.'),
  min_body_bytes_per_second: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(1024)
    .describe(
      'Least rate of a request body that takes more than five minutes: of those, and of each minute after them. Time in which the API takes nothing does not count. A slower one is answered 408.',
    ),
  connect_timeout_seconds: timeoutSeconds(5).describe('Longest wait for a connection to the API.'),
  response_timeout_seconds: timeoutSeconds(60).describe('Longest wait for the first byte of the answer.'),
  idle_timeout_seconds: timeoutSeconds(300).describe(
    'Longest silence within an answer or a WebSocket, and longest time that a client may leave an answer unread.',
  ),
})

export const proxy = z
  .strictObject({
    routes: z.array(route).default([]).describe('What can be reached through the proxy, and how; nothing else can.'),
    trusted_proxies: z
      .array(
        z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'must be an address or a network such as 10.0.0.0/8'),
      )
      .default([])
      .describe('Peers whose X-Forwarded-For counts: each must write the address of its client at the end.'),
    identity_headers: z
      .array(z.string().regex(/^[A-Za-z0-9_-]{1,64}\*?$/, 'must be a header name, with a * at its end for any ending'))
      .default([])
      .describe(
        'Further request headers that an API takes for an identity and no client may send, such as X-Tenant-*.',
      ),
    max_waiting_requests: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(1024)
      .describe(
        'Most requests to one API that may wait for the beginning of their answer, and as many whose body is still being sent; more are answered 503. Of those bodies the one whose client was quiet the longest, for a second at least, makes room first.',
      ),
    streams: z
      .strictObject({
        per_session: z.int().min(1).max(100_000).default(50).describe('Of one session; one more is answered 429.'),
        total: z.int().min(1).max(1_000_000).default(10_000).describe('Of one process; one more is answered 503.'),
      })
      .prefault({})
      .describe('Most event streams and WebSockets that may be open.'),
    rate_limit: z
      .strictObject({
        per_session: z
          .strictObject(rateLimitFields)
          .optional()
          .describe('Of one session, over all routes; no limit unless given.'),
        per_address: z
          .strictObject(rateLimitFields)
          .optional()
          .describe('Of one client address, IPv6 by /56; no limit unless given.'),
      })
      .prefault({})
      .describe('More is answered 429; each process counts for itself.'),
  })
  .prefault({})
