import {
  identityHash,
  type AuditEvent,
  type AuditLog,
  type Ledger,
  type Logger,
  type RuleKey,
  type Unknown,
} from '@token-handler/shared'
import { z } from 'zod'

const text = z.string().min(1).max(1024)
const targets = ['sub', 'sid', 'as_sid', 'client', 'kid', 'all'] as const

/** What is to be revoked: exactly one target, as the admin API and the command line take it. */
export const revocationSchema = z
  .strictObject({
    /** Subject, as the ID token names it. */
    sub: text.optional(),
    /** One session. */
    sid: text.optional(),
    /** Session of the authorization server: the ID token's `sid`. */
    as_sid: text.optional(),
    client: text.optional(),
    /** What was sealed under this key. */
    kid: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,16}$/, 'must be the id of a key')
      .optional(),
    all: z.literal(true).optional(),
    /** Of `sub`, `as_sid` and `client`; the configured one unless given. */
    issuer: text.optional(),
    /** Sessions that began before this are over; now unless given. An instant in the future counts as now. */
    before: z.iso
      .datetime({ offset: true, error: 'must be a time with its offset or Z, such as 2026-11-27T06:00:00Z' })
      .optional(),
    /** For the audit log. */
    reason: z
      .string()
      .regex(/^[A-Za-z0-9._:-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, colons, dashes or underscores')
      .optional(),
    dry_run: z.boolean().default(false),
  })
  .superRefine((request, context) => {
    const given = targets.filter((target) => request[target] !== undefined)
    if (given.length === 1) return
    context.addIssue({ code: 'custom', message: `exactly one of ${targets.join(', ')} has to be given` })
  })

export type RevocationRequest = z.output<typeof revocationSchema>

export interface RevocationDeps {
  readonly ledger: Ledger
  readonly issuer: string
  /** Longest life of a session. */
  readonly absoluteSeconds: number
}

export interface Revocation {
  readonly state: 'done'
  readonly isDryRun: boolean
  readonly key: RuleKey
  /** Milliseconds, the ledger's clock; `undefined` for a dry run of what would count from now. */
  readonly before: number | undefined
  /** When the rule is forgotten. Not for a dry run. */
  readonly expiresAt: number | undefined
  /**
   * Live sessions that end, or would end. Not where it would take a look at every session before they are ended, or where
   * they could not be counted.
   */
  readonly sessions: number | undefined
  /** Records that could not be read when they were counted. */
  readonly unreadable: number
}

/** Ends what is asked for, on every replica, once this resolves; or works out what it would end. */
export async function revoke(
  request: RevocationRequest,
  { ledger, issuer, absoluteSeconds }: RevocationDeps,
): Promise<Revocation | Unknown> {
  const key = ruleKeyOf(request, issuer)
  const given = request.before === undefined ? undefined : Date.parse(request.before)
  const counted =
    request.dry_run || key.startsWith('sid:') || key.startsWith('sub:')
      ? await ledger.directory.count({ key, before: given ?? Number.MAX_SAFE_INTEGER })
      : undefined
  const { sessions, unreadable } = counted?.state === 'counted' ? counted : { sessions: undefined, unreadable: 0 }
  if (request.dry_run) {
    if (counted?.state === 'unknown') return counted
    return { state: 'done', isDryRun: true, key, before: given, expiresAt: undefined, sessions, unreadable }
  }
  // Written whatever the count says: it must end those, too, who cannot be counted.
  let before = 0
  const added = await ledger.addRule((now) => {
    // Clocks count whole milliseconds: what began in the same one is over, too.
    before = Math.min(given ?? Infinity, now + 1)
    const rule = { key, before, reason: 'revoked', expiresAt: before + absoluteSeconds * 1000 } as const
    // No other session will have that id: one session is over whatever the clock was when it began.
    return given === undefined && key.startsWith('sid:') ? { ...rule, before: Number.MAX_SAFE_INTEGER } : rule
  })
  if (added.state === 'unknown') return added
  const { expiresAt } = added.rule
  return { state: 'done', isDryRun: false, key, before, expiresAt, sessions, unreadable }
}

/** {@link revoke} by somebody whom the audit log and the log name. */
export async function revokeAs(
  actor: string,
  request: RevocationRequest,
  deps: RevocationDeps & { readonly audit: Pick<AuditLog, 'record'>; readonly logger: Logger },
): Promise<Revocation | Unknown> {
  const outcome = await revoke(request, deps)
  deps.audit.record(revocationEvent(request, outcome, actor))
  if (outcome.state === 'unknown') return outcome
  const { isDryRun, sessions } = outcome
  deps.logger.warn(
    {
      event: 'revocation',
      security: true,
      actor,
      target: targetOf(request),
      isDryRun,
      reason: request.reason,
      sessions,
    },
    isDryRun ? 'A revocation was tried.' : 'Sessions were revoked.',
  )
  return outcome
}

/** The audit event of a revocation. */
export function revocationEvent(request: RevocationRequest, outcome: Revocation | Unknown, actor: string): AuditEvent {
  const { sub, sid, client, kid, reason } = request
  const before = outcome.state === 'unknown' ? undefined : outcome.before
  const sessions = outcome.state === 'unknown' ? undefined : outcome.sessions
  return {
    event: 'revocation',
    outcome: outcome.state === 'unknown' ? 'failure' : 'success',
    actor,
    target: targetOf(request),
    reason: outcome.state === 'unknown' ? 'store_unavailable' : reason,
    subject: sub,
    sid,
    client,
    details: {
      dry_run: request.dry_run,
      ...(kid === undefined ? {} : { kids: [kid] }),
      ...(before === undefined ? {} : { before: new Date(before).toISOString() }),
      ...(sessions === undefined ? {} : { sessions }),
    },
  }
}

export function targetOf(request: RevocationRequest): string {
  const names = { sub: 'subject', sid: 'session', as_sid: 'as_session', client: 'client', kid: 'key', all: 'all' }
  return names[targets.find((target) => request[target] !== undefined) ?? 'all']
}

function ruleKeyOf({ sub, sid, as_sid: asSid, client, kid, issuer }: RevocationRequest, configured: string): RuleKey {
  const hash = (value: string): string => identityHash(issuer ?? configured, value)
  if (sub !== undefined) return `sub:${hash(sub)}`
  if (sid !== undefined) return `sid:${sid}`
  if (asSid !== undefined) return `asid:${hash(asSid)}`
  if (client !== undefined) return `client:${hash(client)}`
  return kid === undefined ? 'all' : `kid:${kid}`
}
