import { identityHash, type Ledger, type SessionEntry, type Unknown } from '@token-handler/shared'
import { z } from 'zod'

const text = z.string().min(1).max(1024)

/** Whose sessions are asked for: those of a subject, or one. */
export const sessionsSchema = z
  .strictObject({ sub: text.optional(), sid: text.optional(), issuer: text.optional() })
  .superRefine(({ sub, sid }, context) => {
    if ((sub === undefined) !== (sid === undefined)) return
    context.addIssue({ code: 'custom', message: 'exactly one of sub, sid has to be given' })
  })

export type SessionsRequest = z.output<typeof sessionsSchema>

/** A live session as operators see it: no token, and nobody's name. */
export interface ListedSession {
  readonly sid: string
  readonly started_at: string
  readonly last_active_at: string
  readonly idle_expires_at: string
  readonly expires_at: string
  /** How often it was refreshed. */
  readonly generation: number
  readonly subject_hash: string
  readonly as_session_hash?: string
  readonly client_hash?: string
  readonly kid?: string
}

export async function listSessions(
  { sub, sid, issuer: given }: SessionsRequest,
  { ledger, issuer }: { readonly ledger: Ledger; readonly issuer: string },
): Promise<
  Unknown | { readonly state: 'found'; readonly sessions: readonly ListedSession[]; readonly unreadable: number }
> {
  if (sid !== undefined) {
    const found = await ledger.directory.find(sid)
    if (found.state === 'unknown') return found
    const { session, unreadable } = found
    return { state: 'found', sessions: session === undefined ? [] : [listed(session)], unreadable }
  }
  const found = await ledger.directory.ofSubject(identityHash(given ?? issuer, sub ?? ''))
  return found.state === 'unknown' ? found : { ...found, sessions: found.sessions.map(listed) }
}

/** As answers tell it: nothing where every record could be read. */
export function unreadableOf(unreadable: number): { readonly unreadable?: number } {
  return unreadable === 0 ? {} : { unreadable }
}

/** The same in words. */
export function unreadableText(unreadable: number, what: 'counted' | 'listed'): string | undefined {
  return unreadable === 0
    ? undefined
    : `Not ${what}: ${unreadable} ${unreadable === 1 ? 'record' : 'records'} that cannot be read.`
}

function listed(session: SessionEntry): ListedSession {
  const iso = (instant: number): string => new Date(instant).toISOString()
  const { asSessionHash, clientHash, kid } = session
  return {
    sid: session.sid,
    started_at: iso(session.startedAt),
    last_active_at: iso(session.activeAt),
    idle_expires_at: iso(Math.min(session.idleAt, session.absoluteAt)),
    expires_at: iso(session.absoluteAt),
    generation: session.generation,
    subject_hash: session.subjectHash,
    ...(asSessionHash === undefined ? {} : { as_session_hash: asSessionHash }),
    ...(clientHash === undefined ? {} : { client_hash: clientHash }),
    ...(kid === undefined ? {} : { kid }),
  }
}
