import { listSessions, sessionsSchema, unreadableOf, unreadableText, type ListedSession } from '../admin/sessions.ts'
import { LedgerUnreachableError, withLedger } from '../ledger-command.ts'
import { UsageError, type CommandLine } from '../usage.ts'

/** `sessions --sub SUB | --sid SID`: the live sessions of a subject, or one. Never a token. */
export async function sessions({ config: file, sub, sid, issuer, json }: CommandLine): Promise<void> {
  const parsed = sessionsSchema.safeParse({ sub, sid, issuer })
  if (!parsed.success) throw new UsageError('sessions needs --sub SUB or --sid SID')
  const found = await withLedger(file, async (ledger, { authorization_server: server }, audit) => {
    const listed = await listSessions(parsed.data, { ledger, issuer: server.issuer })
    const outcome = listed.state === 'unknown' ? 'failure' : 'success'
    audit.record({ event: 'admin', outcome, actor: 'command-line', target: 'sessions', subject: sub, sid })
    return listed
  })
  if (found.state === 'unknown') throw new LedgerUnreachableError('the ledger cannot be reached')
  const { sessions: listed, unreadable } = found
  const text =
    json === true ? JSON.stringify({ sessions: listed, ...unreadableOf(unreadable) }) : textOf(listed, unreadable)
  process.stdout.write(`${text}\n`)
}

function textOf(listed: readonly ListedSession[], unreadable: number): string {
  const left = unreadableText(unreadable, 'listed')
  if (listed.length === 0) return left ?? 'There is no live session.'
  return [...rowsOf(listed), left ?? []].flat().join('\n')
}

function rowsOf(listed: readonly ListedSession[]): string[] {
  const rows = listed.map((one) => [
    one.sid,
    one.started_at,
    one.last_active_at,
    one.expires_at,
    String(one.generation),
    one.kid ?? '-',
  ])
  const all = [['SESSION', 'STARTED', 'LAST ACTIVE', 'EXPIRES', 'REFRESHES', 'KEY'], ...rows]
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}
