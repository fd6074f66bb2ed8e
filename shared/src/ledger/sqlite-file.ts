import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, openSync, rmSync, statSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { lockFile } from '../file-lock.ts'

/** Tables of this release. A later one may add to them; this one refuses a file that says it cannot read it. */
const schemaVersion = 1

/** An index over what the records hold, so that a process of the release before this one keeps it right, too. */
function subjectOf(column: string): string {
  return `CASE WHEN json_valid(${column}) THEN ${column} ->> '$.record.owner.subject' END`
}

const schema = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS session (sid TEXT PRIMARY KEY, record TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS session_expiry ON session (expires_at);
  CREATE TABLE IF NOT EXISTS login (id TEXT PRIMARY KEY, record TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS login_expiry ON login (expires_at);
  CREATE TABLE IF NOT EXISTS rule (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    before INTEGER NOT NULL,
    reason TEXT NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS rule_expiry ON rule (expires_at);
  CREATE INDEX IF NOT EXISTS session_subject ON session (${subjectOf('record')});
  CREATE TABLE IF NOT EXISTS token (
    sid TEXT NOT NULL,
    reference TEXT NOT NULL,
    sealed TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (sid, reference)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS token_expiry ON token (expires_at);
  CREATE TABLE IF NOT EXISTS replica (id TEXT PRIMARY KEY, about TEXT NOT NULL, heard_at INTEGER NOT NULL) STRICT;
`

/** The file was made by a release whose tables this one cannot read. */
export class LedgerFormatError extends Error {
  override readonly name = 'LedgerFormatError'
}

/** One open file with the statements of the store. All of it is synchronous and may throw SQLite's errors. */
export interface SqliteFile {
  readonly database: DatabaseSync
  /** Identifies the file itself, whatever lies at its path by now. */
  readonly inode: bigint
  readonly incarnation: string
  readonly incarnationAt: number
  readonly statements: Statements
}

export interface Statements {
  readonly readSession: StatementSync
  readonly writeSession: StatementSync
  readonly deleteSession: StatementSync
  readonly readLogin: StatementSync
  readonly writeLogin: StatementSync
  readonly readSubject: StatementSync
  readonly readSessionsAfter: StatementSync
  readonly writeRule: StatementSync
  readonly readRules: StatementSync
  readonly dataVersion: StatementSync
  readonly writeToken: StatementSync
  readonly readToken: StatementSync
  readonly deleteTokens: StatementSync
  readonly writeReplica: StatementSync
  readonly readReplicas: StatementSync
  readonly deleteReplicas: StatementSync
  /** Changes something that nobody reads. */
  readonly writeProbe: StatementSync
}

export interface OpenOptions {
  /** Milliseconds, the ledger's clock. */
  readonly now: number
  /** The incarnation of another file that this process knew at the path: the one found now must not go on as that one. */
  readonly lost?: string
  /** Called, before anybody else sees it, for a file that is new, or not the one known before. */
  readonly renewed: (file: SqliteFile, isNew: boolean) => void
}

/**
 * Opens the file, and makes it where there is none: readable by its owner only, in WAL mode so that readers and one
 * writer never wait for each other, and synced at every commit because a lease that is lost in a power cut would send a
 * refresh token twice.
 * @throws LedgerFormatError, or the error of SQLite or the file system.
 */
export function openSqliteFile(path: string, { now, lost, renewed }: OpenOptions): SqliteFile {
  if (inodeOf(path) === undefined) makeFile(path)
  chmodSync(path, 0o600)
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF')
    database.exec('BEGIN IMMEDIATE')
    database.exec(schema)
    checkVersion(database)
    const inode = inodeOf(path)
    if (inode === undefined) throw new Error('The ledger file vanished while it was opened.')
    const { isNew, ...incarnation } = incarnationOf(database, now, lost)
    const file = { database, inode, ...incarnation, statements: prepare(database) }
    if (isNew || lost !== undefined) renewed(file, isNew)
    database.exec('COMMIT')
    return file
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * One process at a time: what another has beside a file that it just made is not what a lost one left behind, and whoever
 * removed that would not see what the other writes.
 */
function makeFile(path: string): void {
  const unlock = lockFile(`${path}.lock`, 0)
  try {
    if (inodeOf(path) !== undefined) return
    // What a lost file left behind belongs to no other.
    for (const rest of ['-wal', '-shm']) rmSync(path + rest, { force: true })
    closeSync(openSync(path, 'a', 0o600))
  } finally {
    unlock()
  }
}

/** The file that lies at a path now, or `undefined` where there is none. */
export function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

function checkVersion(database: DatabaseSync): void {
  const found = database.prepare("SELECT value FROM meta WHERE name = 'schema_version'").get()?.['value']
  if (found === undefined) {
    database.prepare("INSERT INTO meta VALUES ('schema_version', ?)").run(schemaVersion)
  } else if (found !== schemaVersion) {
    throw new LedgerFormatError(
      `The ledger file has schema version ${String(found)}; this release reads ${schemaVersion}.`,
    )
  }
}

function incarnationOf(
  database: DatabaseSync,
  now: number,
  lost: string | undefined,
): Pick<SqliteFile, 'incarnation' | 'incarnationAt'> & { readonly isNew: boolean } {
  const read = database.prepare('SELECT value FROM meta WHERE name = ?')
  const found = read.get('incarnation')?.['value']
  if (typeof found === 'string' && found !== lost) {
    return { isNew: false, incarnation: found, incarnationAt: Number(read.get('incarnation_at')?.['value']) }
  }
  const incarnation = randomBytes(12).toString('base64url')
  const write = database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)')
  write.run('incarnation', incarnation)
  write.run('incarnation_at', now)
  return { isNew: true, incarnation, incarnationAt: now }
}

function prepare(database: DatabaseSync): Statements {
  return {
    readSession: database.prepare('SELECT record FROM session WHERE sid = ?'),
    writeSession: database.prepare(
      `INSERT INTO session VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET record = excluded.record, expires_at = excluded.expires_at`,
    ),
    deleteSession: database.prepare('DELETE FROM session WHERE sid = ?'),
    readLogin: database.prepare('SELECT record FROM login WHERE id = ?'),
    writeLogin: database.prepare(
      `INSERT INTO login VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET record = excluded.record, expires_at = excluded.expires_at`,
    ),
    readSubject: database.prepare(
      `SELECT sid, record FROM session WHERE ${subjectOf('record')} = ? ORDER BY expires_at DESC LIMIT ?`,
    ),
    readSessionsAfter: database.prepare(
      'SELECT rowid, sid, record FROM session WHERE rowid > ? ORDER BY rowid LIMIT ?',
    ),
    // Replaced rather than updated: the new sequence number is what other processes find it by.
    writeRule: database.prepare(
      `INSERT OR REPLACE INTO rule (key, before, reason, expires_at)
       SELECT :key, max(:before, coalesce(max(before), 0)), :reason, max(:expiresAt, coalesce(max(expires_at), 0))
       FROM rule WHERE key = :key`,
    ),
    readRules: database.prepare(
      'SELECT seq, key, before, reason, expires_at FROM rule WHERE seq > ? ORDER BY seq LIMIT ?',
    ),
    dataVersion: database.prepare('PRAGMA data_version'),
    writeToken: database.prepare('INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?)'),
    readToken: database.prepare('SELECT sealed FROM token WHERE sid = ? AND reference = ? AND expires_at > ?'),
    deleteTokens: database.prepare('DELETE FROM token WHERE sid = ?'),
    writeReplica: database.prepare(
      'INSERT INTO replica VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET about = excluded.about, heard_at = excluded.heard_at',
    ),
    readReplicas: database.prepare('SELECT id, about, heard_at FROM replica ORDER BY id'),
    deleteReplicas: database.prepare('DELETE FROM replica WHERE heard_at < ?'),
    writeProbe: database.prepare("INSERT OR REPLACE INTO meta VALUES ('probed_at', ?)"),
  }
}
