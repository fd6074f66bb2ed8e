import { z } from 'zod'
import { auditEvents, auditOutcomes, type AuditEventName } from './events.ts'

/**
 * A record as it is written: one JSON object a line. docs/audit.schema.json is made of this. Within version 1 members and
 * events may be added, and none is removed or changes its meaning.
 */

const names = Object.keys(auditEvents) as [AuditEventName, ...AuditEventName[]]
const hash = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const shortHash = z.string().regex(/^[A-Za-z0-9_-]{22}$/)
const word = z.string().regex(/^[\w.:-]{1,64}$/)
const text = z.string().max(256)

const place = z.strictObject({
  file: text.optional().describe('Name of the file.'),
  chain: word.describe('Chain of that process.'),
  n: z.int().min(0).describe('Number of its last record.'),
  hash: hash.describe('Hash of that record.'),
})

export const auditDetailsSchema = z.strictObject({
  count: z.int().min(0).optional().describe('How many there were.'),
  window_seconds: z.int().min(0).optional().describe('Time that was counted over.'),
  expires_in: z.int().optional().describe('Seconds that an issued credential lives.'),
  before: text.optional().describe('Instant that a revocation, or a range, ends at.'),
  after: text.optional().describe('Instant that a range begins at.'),
  dry_run: z.boolean().optional().describe('Nothing was changed, only worked out.'),
  sessions: z.int().min(0).optional().describe('Sessions that a revocation ends, as far as known.'),
  kids: z.array(word).max(64).optional().describe('Key ids.'),
  acr: text.optional().describe('Authentication context.'),
  amr: z.array(text).max(16).optional().describe('Authentication methods.'),
  generation: z.int().min(0).optional().describe("Generation of the session's cookies."),
  rule: word.optional().describe('Name of the anomaly rule.'),
  files: z.array(text).max(64).optional().describe("Names of the log's own files."),
  expected: text.optional().describe('What a session is bound to, or was used from before.'),
  seen: text.optional().describe('What was seen instead.'),
  version: text.optional().describe('Version of the program.'),
})

export const auditWhoSchema = z.strictObject({
  subject: shortHash
    .optional()
    .describe('Keyed hash of issuer and subject: the same user has the same one under one key.'),
  sub: text.optional().describe('The subject itself, only with `audit.subject: clear`.'),
  sid: shortHash.optional().describe('Hash of the session id.'),
  address: z.string().max(64).optional().describe('Network of the client: /24 of IPv4, /56 of IPv6.'),
  id: word.optional().describe('Correlation id: `X-Request-Id` of the answer, and of the log.'),
  salt: z.string().regex(/^[A-Za-z0-9_-]{16}$/),
})

export const auditRecordSchema = z
  .strictObject({
    v: z.literal(1).describe('Version of this schema.'),
    type: z.literal('audit').describe('Tells the line from those of the operational log.'),
    chain: word.describe('Chain that the record belongs to: one process from start to stop.'),
    n: z.int().min(0).describe('Number in the chain, without gaps; with `chain` the id of the record.'),
    time: z.iso.datetime({ precision: 3 }).describe('When it happened.'),
    event: z.enum(names).describe('What happened.'),
    outcome: z.enum(auditOutcomes).describe('What came of it.'),
    reason: word.optional().describe('Why: an error code, or the reason of an end.'),
    client: text.optional().describe('OAuth client id.'),
    scopes: z.array(z.string()).optional().describe('Granted scopes.'),
    route: text.optional().describe('Path of the configured route.'),
    method: word.optional().describe('HTTP method.'),
    status: z.int().min(100).max(599).optional().describe('HTTP status of the answer.'),
    capability: text.optional().describe('Name of the configured capability.'),
    actor: text.optional().describe("Who did it, where it was not the session's user."),
    target: word.optional().describe('Kind of what a revocation or an admin call is about.'),
    details: auditDetailsSchema.optional(),
    log: z
      .strictObject({
        kid: word.describe('Key of pseudonyms and hashes from here on.'),
        part: z.int().min(0).describe('Number of the part in its chain.'),
        previous: place.optional().describe('Where the part before ends.'),
        others: z.array(place).max(32).optional().describe('Where the chains of other processes had come to.'),
      })
      .optional()
      .describe('Only in `log_opened`.'),
    who_hash: hash.optional().describe('Code of `who`; the chain holds this one, so that `who` can be erased.'),
    who: auditWhoSchema.optional().describe('What leads to a person.'),
    erased: shortHash.optional().describe('In place of `who`: proof that it was erased by who has the key.'),
    hash: hash.describe('Code of the record without `who`, `erased` and `hash`, and of the hash before.'),
  })
  .describe('Record of the audit log')

export type AuditRecord = z.output<typeof auditRecordSchema>
export type AuditWho = z.output<typeof auditWhoSchema>
export type AuditPlace = z.output<typeof place>
