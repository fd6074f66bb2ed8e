import { z } from 'zod'
import { seconds } from './values.ts'

const onLedgerLoss = z
  .enum(['adopt', 'end_all'])
  .default('adopt')
  .describe('After the store lost its records: adopt goes on with what the cookies say, end_all ends every session.')

const staleRules = {
  on_stale_rules: z
    .enum(['fail_closed', 'serve_until_token_expiry'])
    .default('fail_closed')
    .describe(
      'When the ends of sessions may have been missed for too long: answer 503, or go on with each access token until it expires.',
    ),
  stale_rules_seconds: seconds(60, 5, 3600).describe('How long is too long.'),
}

export const ledger = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('sqlite').describe('All processes of one machine share one file.'),
      file: z
        .string()
        .min(1)
        .default('./token-handler.db')
        .describe('Path on a disk of this machine; made if absent, readable by its owner only.'),
      on_ledger_loss: onLedgerLoss,
      ...staleRules,
    }),
    z.strictObject({
      type: z.literal('redis').describe('Redis 6 or newer, or Valkey, for any number of machines.'),
      url: z
        .string()
        .refine((text) => URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol), {
          error: 'must be a redis or rediss URL',
        })
        .describe('rediss://user:password@host:port/database; rediss is TLS. Use ${ENV_VARIABLE} or file:PATH.'),
      key_prefix: z
        .string()
        .regex(/^[A-Za-z0-9._:-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, colons, dashes or underscores')
        .default('token-handler')
        .describe('All keys start with {key_prefix}: and so lie in one slot of a cluster.'),
      ca_file: z.string().min(1).optional().describe('PEM of the authority that signed the TLS certificate.'),
      on_ledger_loss: onLedgerLoss,
      ...staleRules,
    }),
    z.strictObject({
      type: z.literal('memory').describe('One process, for tests and trials: a restart forgets everything.'),
    }),
    z.strictObject({
      type: z.literal('none').describe('No ledger: docs/sessions.md tells what does not hold then.'),
    }),
  ])
  .prefault({ type: 'sqlite' })
  .describe('Where sessions are recorded; never holds a readable token.')
