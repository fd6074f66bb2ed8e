import { z } from 'zod'
import { seconds } from './values.ts'

const threshold = (fallback: number) => z.int().min(0).max(1_000_000).default(fallback)

/** 32 random bytes as base64url; the value itself is never part of a message. */
const auditKey = z
  .string()
  .refine((text) => /^[A-Za-z0-9_-]{43}$/.test(text) && Buffer.from(text, 'base64url').length === 32, {
    error: 'must be 32 random bytes as base64url',
  })

export const audit = z
  .strictObject({
    sink: z
      .enum(['stdout', 'files', 'off'])
      .default('stdout')
      .describe(
        'Where the audit log goes: lines with "type":"audit" among those of the log, files of its own, or nowhere.',
      ),
    folder: z
      .string()
      .min(1)
      .default('./audit')
      .describe('Folder of the files; made if absent. Each process writes files of its own, a new one every day.'),
    retention_days: z.int().min(1).max(3660).default(90).describe('Files that are older are removed.'),
    key: auditKey
      .optional()
      .describe('Key of pseudonyms and hash chain; derived from the active key of the key file unless given.'),
    previous_keys: z.array(auditKey).default([]).describe('Earlier values of key, to verify and find older records.'),
    subject: z
      .enum(['pseudonym', 'clear'])
      .default('pseudonym')
      .describe('Whether records name the user by a keyed hash alone, or by sub as well.'),
    requests: z.boolean().default(false).describe('Record every request that goes to an API.'),
    on_lost_sink: z
      .enum(['drop', 'block'])
      .default('drop')
      .describe(
        'When the log cannot be written: drop goes on and records how much was lost, block answers 503 audit_unavailable.',
      ),
    buffer: z.int().min(100).max(1_000_000).default(10_000).describe('Most events that wait to be written.'),
    alerts: z
      .strictObject({
        window_seconds: seconds(300, 10, 86_400).describe('What is counted together; each alert comes once in it.'),
        failed_logins_per_network: threshold(20).describe('Failed logins from one network (/24, /56). 0 is never.'),
        failed_logins: threshold(200).describe('Failed logins together. 0 is never.'),
        superseded: threshold(3).describe('Replaced session cookies that are shown again. 0 is never.'),
        new_network: z
          .boolean()
          .default(true)
          .describe('A session is refreshed from another network than the last time.'),
        capabilities_per_subject: threshold(100).describe('Capabilities that one user asks for. 0 is never.'),
      })
      .prefault({})
      .describe('Anomaly rules; each process counts for itself.'),
  })
  .prefault({})
  .describe('Record of what is issued and refused, and by whom.')
