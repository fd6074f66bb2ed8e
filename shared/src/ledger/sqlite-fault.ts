import { LedgerFormatError } from './sqlite-file.ts'
import { UnreadableRecordError } from './stored-record.ts'

/** Primary result codes of SQLite (sqlite.org/rescode.html) that mean trouble with the file rather than with us. */
const names: Readonly<Record<number, string>> = {
  5: 'busy',
  6: 'busy',
  8: 'read_only',
  10: 'input_output',
  11: 'corrupt',
  13: 'disk_full',
  14: 'cannot_open',
  26: 'not_a_database',
}

/** A short name for what is wrong with the store, or `undefined` for an error that is not the store's. */
export function sqliteFault(error: unknown): string | undefined {
  if (error instanceof UnreadableRecordError || error instanceof LedgerFormatError) return 'format'
  const { code, errcode, syscall } = error as { code?: unknown; errcode?: unknown; syscall?: unknown }
  if (code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number') {
    // Extended result codes carry the primary one in their low byte.
    return names[errcode & 0xff] ?? `sqlite_${errcode}`
  }
  // Node's own check of a connection that was closed.
  if (code === 'ERR_INVALID_STATE') return 'closed'
  return typeof syscall === 'string' && typeof code === 'string' ? code.toLowerCase() : undefined
}
