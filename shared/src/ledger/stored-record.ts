import type { LoginRecord, SessionRecord } from './protocol.ts'

/**
 * A session's record as stores keep it: JSON with the version of its format and the incarnation of the store that it was
 * written under. Release n reads what release n - 1 wrote.
 */

const formatVersion = 1

interface StoredSession {
  readonly v: number
  readonly incarnation: string
  readonly record: SessionRecord
}

/** A record that this release cannot read. The answer is *unknown* then, never *absent*. */
export class UnreadableRecordError extends Error {
  override readonly name = 'UnreadableRecordError'
}

export function writeSession(record: SessionRecord, incarnation: string): string {
  return JSON.stringify({ v: formatVersion, incarnation, record } satisfies StoredSession)
}

/**
 * @param incarnation The store's incarnation now. A record of an earlier one may be behind what has happened (a failover
 * that lost writes, a restored backup), so it counts as adopted: row 15 of docs/sessions.md.
 * @throws UnreadableRecordError
 */
export function readSession(text: string, incarnation: string): SessionRecord {
  const stored = parse(text) as StoredSession | null
  if (stored?.v !== formatVersion || typeof stored.record?.generation !== 'number') {
    throw new UnreadableRecordError('A session record is not of a format that this release reads.')
  }
  return stored.incarnation === incarnation ? stored.record : { ...stored.record, adopted: true }
}

/** The records that this release can read, and how many it cannot: those must not hide the others from operators. */
export function readSessions(
  stored: readonly (readonly [sid: string, text: string])[],
  incarnation: string,
): { readonly records: (readonly [sid: string, record: SessionRecord])[]; readonly unreadable: number } {
  const records = stored.flatMap(([sid, text]) => {
    try {
      return [[sid, readSession(text, incarnation)] as const]
    } catch (error) {
      if (error instanceof UnreadableRecordError) return []
      throw error
    }
  })
  return { records, unreadable: stored.length - records.length }
}

export function writeLogin(record: LoginRecord): string {
  return JSON.stringify(record)
}

/** @throws UnreadableRecordError */
export function readLogin(text: string): LoginRecord {
  const record = parse(text) as LoginRecord
  if (typeof record?.claimedAt !== 'number') {
    throw new UnreadableRecordError('A login record is not of a format that this release reads.')
  }
  return record
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new UnreadableRecordError('A ledger record is not JSON.', { cause })
  }
}
