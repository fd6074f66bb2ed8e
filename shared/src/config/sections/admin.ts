import { z } from 'zod'
import { listen, tls } from './listeners.ts'
import { secretText } from './values.ts'

const keyName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores')

export const admin = listen.extend({
  keys: z
    .record(keyName, secretText.min(32, 'must be at least 32 characters; make one with `openssl rand -base64 32`'))
    .default({})
    .describe(
      'Keys to /admin/* and to the page /operations, by the name of who holds them, which the audit log shows. Use ${ENV_VARIABLE} or file:PATH. Without keys and client certificates there is neither.',
    ),
  tls: tls
    .extend({
      client_ca_file: z
        .string()
        .min(1)
        .optional()
        .describe('PEM of the authority whose client certificates open /admin/* and /operations in place of a key.'),
    })
    .optional()
    .describe('Terminates TLS here; changed files are read without a restart.'),
})
