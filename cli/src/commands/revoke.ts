import {
  revocationEvent,
  revocationSchema,
  revoke as revokeSessions,
  targetOf,
  type Revocation,
} from '../admin/revocation.ts'
import { unreadableOf, unreadableText } from '../admin/sessions.ts'
import { LedgerUnreachableError, withLedger } from '../ledger-command.ts'
import { UsageError, type CommandLine } from '../usage.ts'

/**
 * `revoke --sub|--sid|--as-sid|--client|--kid|--all [--before T] [--dry-run]`: ends sessions on every process that shares
 * the configured ledger.
 */
export async function revoke(line: CommandLine): Promise<void> {
  const parsed = revocationSchema.safeParse(requestOf(line))
  if (!parsed.success)
    throw new UsageError(parsed.error.issues.map(({ path, message }) => optionText(path, message)).join('; '))
  const request = parsed.data
  const outcome = await withLedger(
    line.config,
    async (ledger, { authorization_server: { issuer }, session }, audit) => {
      const revocation = await revokeSessions(request, { ledger, issuer, absoluteSeconds: session.absolute_seconds })
      audit.record(revocationEvent(request, revocation, 'command-line'))
      return revocation
    },
  )
  if (outcome.state === 'unknown') {
    if (request.dry_run) throw new LedgerUnreachableError('the ledger cannot be reached')
    // It may have written the rule, and only its answer got lost.
    throw new LedgerUnreachableError(
      'the ledger does not answer: whether the sessions ended is not certain; repeat the command, which does no harm',
    )
  }
  process.stdout.write(`${line.json === true ? JSON.stringify(jsonOf(outcome, targetOf(request))) : textOf(outcome)}\n`)
}

function requestOf({
  sub,
  sid,
  'as-sid': as_sid,
  client,
  kid,
  all,
  issuer,
  before,
  reason,
  'dry-run': dry_run,
}: CommandLine) {
  return { sub, sid, as_sid, client, kid, all: all === true ? true : undefined, issuer, before, reason, dry_run }
}

function optionText(path: readonly PropertyKey[], message: string): string {
  const [name] = path
  return name === undefined
    ? message.replace('as_sid', 'as-sid').replace('has to be given', 'is needed')
    : `--${String(name).replace('_', '-')} ${message}`
}

function textOf(revocation: Revocation): string {
  return [endOf(revocation), unreadableText(revocation.unreadable, 'counted') ?? []].flat().join(' ')
}

function endOf({ isDryRun, before, expiresAt, sessions }: Revocation): string {
  const count = `${sessions} live ${sessions === 1 ? 'session' : 'sessions'}`
  if (isDryRun) return `This would end ${count}.`
  const [until, forgotten] = [before, expiresAt].map((instant) => new Date(instant ?? 0).toISOString())
  return sessions === undefined
    ? `All such sessions that began before ${until} are over; how many there were is not known (a dry run counts first). The rule is kept until ${forgotten}.`
    : `${count} that began before ${until} ended; the rule is kept until ${forgotten}.`
}

function jsonOf(
  { isDryRun, before, expiresAt, sessions, unreadable }: Revocation,
  target: string,
): Record<string, unknown> {
  const iso = (instant: number | undefined): string | undefined =>
    instant === undefined ? undefined : new Date(instant).toISOString()
  const instants = { before: iso(before), expires_at: iso(expiresAt) }
  return { target, dry_run: isDryRun, ...instants, sessions, ...unreadableOf(unreadable) }
}
