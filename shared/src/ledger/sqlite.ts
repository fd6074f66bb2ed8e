import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { maxListed, replicaMemoryMs, type FoundRecords } from './directory.ts'
import { loginMemorySeconds, type Ledger, type Unknown } from './ledger.ts'
import type { StepContext } from './protocol.ts'
import { logUnreadable, trackReachability } from './reachability.ts'
import { RuleSet, type Rule, type RuleKey, type RuleSettings } from './rules.ts'
import { inodeOf, openSqliteFile, type SqliteFile } from './sqlite-file.ts'
import { sqliteFault } from './sqlite-fault.ts'
import { createLedger, type LedgerStore } from './store.ts'
import { readLogin, readSession, readSessions, writeLogin, writeSession } from './stored-record.ts'

export interface SqliteLedgerOptions {
  /** Path of the file; its folder must exist, on a file system of this machine. */
  readonly path: string
  readonly clock: Clock
  readonly logger: Logger
  /** Written into a file that is new: the rule that ends what may have been lost with the one before, if it shall end. */
  readonly lossRule?: ((incarnationAt: number) => Rule) | undefined
  readonly rules?: RuleSettings | undefined
}

/** Rules of other processes are seen within this time. */
const pollMs = 25
/** How often it is tried whether the file can be written to. */
const probeMs = 100
/**
 * A process that has not had the write lock for longer cannot know whether others could have it. Less does no harm: a
 * lease leaves five seconds for the commit.
 */
const provenMs = 3000
const sweepMs = 60_000
const sweepRows = 500
/** Rules that are read at once: a million of them would need a gigabyte for a moment. */
const rulePage = 5000
/** Sessions that are looked at in one turn of the event loop. */
const visitRows = 500
/** A file that is locked for longer counts as unreachable. */
const busyMs = 1500
/** At start there is time. */
const openBusyMs = 5000
/** Records outlive every cookie of the session, so that one that is gone is surely over. */
const marginMs = 60_000

/**
 * The ledger of one machine, shared by all its processes: one SQLite file. Rules are loaded when it resolves.
 * @throws LedgerFormatError for the file of a newer release, else the error that keeps the file from being opened.
 */
export async function openSqliteLedger(options: SqliteLedgerOptions): Promise<Ledger> {
  return createLedger(await openSqliteStore(options))
}

async function openSqliteStore({
  path,
  clock,
  logger,
  lossRule,
  rules: settings,
}: SqliteLedgerOptions): Promise<LedgerStore> {
  const reachability = trackReachability('sqlite', logger)
  let rulesKnownAt = clock.monotonic()
  let mayMissRules = false
  const rules = new RuleSet(clock, () => (mayMissRules ? clock.monotonic() - rulesKnownAt : 0), settings)
  let lastSeq = 0
  let dataVersion: unknown
  let isClosed = false
  let lockedAt = performance.now()

  const renewed = (made: SqliteFile, isNew: boolean): void => {
    for (const rule of rules.inForce()) insertRule(made, rule)
    if (isNew && lossRule !== undefined) insertRule(made, lossRule(made.incarnationAt))
  }
  const openFile = (lost?: string): SqliteFile =>
    openSqliteFile(path, { now: clock.now(), renewed, ...(lost === undefined ? {} : { lost }) })
  let file = await patiently(() => openFile(), openBusyMs)

  /** The open file, unless another lies at the path by now: then the records are lost, and this process knows it. */
  function currentFile(): SqliteFile {
    const { database, inode, incarnation } = file
    const isLost = inodeOf(path) !== inode
    if (isClosed || (!isLost && database.isOpen && !database.isTransaction)) return file
    if (database.isOpen) database.close()
    file = openFile(isLost ? incarnation : undefined)
    lastSeq = 0
    dataVersion = undefined
    if (isLost) logger.error({ event: 'ledger_lost', ledger: 'sqlite' }, 'Another file took the place of the ledger.')
    return file
  }

  /** Learns the rules of other processes. */
  function catchUp({ statements }: SqliteFile): void {
    const version = statements.dataVersion.get()?.['data_version']
    if (version === dataVersion) return
    let rows: Record<string, unknown>[]
    do {
      rows = statements.readRules.all(lastSeq, rulePage)
      rules.addAll(rows.map(ruleOf))
      lastSeq = Number(rows.at(-1)?.['seq'] ?? lastSeq)
    } while (rows.length === rulePage)
    dataVersion = version
  }

  /** Runs `work` until the file is not locked. Only faults of the store are answered with `unknown`. */
  async function attempt<T>(work: (file: SqliteFile) => T): Promise<T | Unknown> {
    if (isClosed) return { state: 'unknown' }
    try {
      return await patiently(() => work(currentFile()), busyMs)
    } catch (error) {
      const fault = sqliteFault(error)
      if (fault === undefined) throw error
      if (fault === 'format') logUnreadable(logger, error)
      else reachability.failed(fault, error)
      return { state: 'unknown' }
    }
  }

  /** Takes the write lock, and notices when it may have been somebody else's for long. */
  function lock({ database }: SqliteFile): void {
    database.exec('BEGIN IMMEDIATE')
    const before = lockedAt
    lockedAt = performance.now()
    if (lockedAt - before > provenMs) reachability.resumed(clock.now())
  }

  function inTransaction<T>(open: SqliteFile, work: () => T): T {
    const { database } = open
    lock(open)
    try {
      catchUp(open)
      const result = work()
      database.exec('COMMIT')
      reachability.succeeded(clock.now())
      return result
    } catch (error) {
      // SQLite rolls some failures back itself. What stays open after this is replaced by a new connection.
      if (database.isTransaction) rollback(open)
      throw error
    }
  }

  const context = ({ incarnationAt }: SqliteFile): StepContext => ({
    now: clock.now(),
    incarnationAt,
    // Until the file was written to again, nobody knows since when it can be.
    reachableSince: reachability.isFailing ? Infinity : reachability.since,
    endOf: (session) => rules.endOf(session),
  })

  function found({ incarnation }: SqliteFile, rows: readonly Record<string, unknown>[]): FoundRecords {
    const stored = rows.map((row) => [String(row['sid']), String(row['record'])] as const)
    return { state: 'found', now: clock.now(), ...readSessions(stored, incarnation) }
  }

  function poll(): void {
    try {
      catchUp(currentFile())
      mayMissRules = false
      rulesKnownAt = clock.monotonic()
    } catch (error) {
      const fault = sqliteFault(error)
      if (fault === undefined) throw error
      mayMissRules = true
      if (fault !== 'busy') reachability.failed(fault, error)
    }
    rules.checkStaleness()
  }

  /** Finds out whether the file can be written to, for steps that only read do not tell, and there may be none. */
  function probe(): void {
    if (isClosed) return
    try {
      const open = currentFile()
      if (reachability.isFailing) inTransaction(open, () => open.statements.writeProbe.run(clock.now()))
      else {
        lock(open)
        rollback(open)
      }
    } catch (error) {
      if (sqliteFault(error) === undefined) throw error
    }
  }

  async function sweep(): Promise<void> {
    rules.forgetExpired()
    for (const table of ['session', 'login', 'rule', 'token']) {
      // A few at a time, for requests and other processes wait meanwhile.
      while ((await sweepSome(table)) === sweepRows) await nextTurn()
    }
  }

  /** @returns How many rows went; none where the file cannot be had, or is closed. */
  async function sweepSome(table: string): Promise<number> {
    let swept = 0
    await attempt((open) => {
      const expired = `FROM ${table} WHERE expires_at < ?`
      if (open.database.prepare(`SELECT 1 ${expired} LIMIT 1`).get(clock.now()) === undefined) return
      const rows = `SELECT rowid ${expired} LIMIT ${sweepRows}`
      const remove = open.database.prepare(`DELETE FROM ${table} WHERE rowid IN (${rows})`)
      swept = Number(inTransaction(open, () => remove.run(clock.now())).changes)
    })
    return swept
  }

  catchUp(file)
  const polling = setInterval(poll, pollMs).unref()
  const probing = setInterval(probe, probeMs).unref()
  const sweeping = setInterval(() => void sweep(), sweepMs).unref()
  void sweep()

  return {
    kind: 'sqlite',
    rules,

    stepSession: (sid, step) =>
      attempt((open) => {
        const { statements, incarnation } = open
        const take = (): ReturnType<typeof step> => {
          const row = statements.readSession.get(sid)
          const record = row === undefined ? undefined : readSession(String(row['record']), incarnation)
          return step(record, context(open))
        }
        catchUp(open)
        const looked = take()
        // Most steps change nothing, and need no lock to say so.
        if (looked.record === undefined && looked.rule === undefined) return looked.answer
        const { answer, rule } = inTransaction(open, () => {
          const taken = take()
          if (taken.rule !== undefined) insertRule(open, taken.rule)
          if (taken.record !== undefined) {
            const text = writeSession(taken.record, incarnation)
            statements.writeSession.run(sid, text, taken.record.absoluteAt + marginMs)
          }
          return taken
        })
        if (rule !== undefined) rules.add(rule)
        return answer
      }),

    async deleteSession(sid) {
      await attempt((open) => inTransaction(open, () => open.statements.deleteSession.run(sid)))
    },

    stepLogin: (id, step) =>
      attempt((open) =>
        inTransaction(open, () => {
          const row = open.statements.readLogin.get(id)
          const known = row === undefined ? undefined : readLogin(String(row['record']))
          const { answer, record } = step(known, clock.now())
          if (record !== undefined) {
            const expiresAt = record.claimedAt + loginMemorySeconds * 1000
            open.statements.writeLogin.run(id, writeLogin(record), expiresAt)
          }
          return answer
        }),
      ),

    async addRule(build) {
      const rule = build(clock.now())
      const written = await attempt((open) => inTransaction(open, () => insertRule(open, rule)))
      // Here it holds in any case, and is put into the next file if this one is lost.
      rules.add(rule)
      return written ?? { state: 'added' }
    },

    putToken: ({ sid, reference, sealed, expiresAt }) =>
      attempt((open) =>
        inTransaction(open, () => {
          open.statements.writeToken.run(sid, reference, sealed, expiresAt)
          return { state: 'kept' } as const
        }),
      ),

    readToken: (sid, reference) =>
      attempt((open) => {
        const sealed = open.statements.readToken.get(sid, reference, clock.now())?.['sealed']
        return sealed === undefined ? { state: 'absent' } : { state: 'found', sealed: String(sealed) }
      }),

    async deleteTokens(sid) {
      // Few sessions have any, and looking needs no lock.
      await attempt((open) => {
        if (open.database.prepare('SELECT 1 FROM token WHERE sid = ? LIMIT 1').get(sid) === undefined) return
        inTransaction(open, () => open.statements.deleteTokens.run(sid))
      })
    },

    position: () => String(lastSeq),

    readSubject: (subjectHash) =>
      attempt((open) => {
        catchUp(open)
        return found(open, open.statements.readSubject.all(subjectHash, maxListed))
      }),

    readSession: (sid) =>
      attempt((open) => {
        catchUp(open)
        const row = open.statements.readSession.get(sid)
        return found(open, row === undefined ? [] : [{ ...row, sid }])
      }),

    async visitSessions(visit) {
      let unreadable = 0
      for (let after = 0; ;) {
        const rows = await attempt((open) => {
          const read = open.statements.readSessionsAfter.all(after, visitRows)
          const { records, unreadable: left } = found(open, read)
          for (const [sid, record] of records) visit(sid, record, clock.now())
          unreadable += left
          return read
        })
        if ('state' in rows) return { state: 'unknown' }
        const last = rows.at(-1)
        if (last === undefined) return { state: 'visited', unreadable }
        after = Number(last['rowid'])
        await nextTurn()
      }
    },

    async putReplica(id, text) {
      await attempt((open) =>
        inTransaction(open, () => {
          open.statements.writeReplica.run(id, text, clock.now())
          open.statements.deleteReplicas.run(clock.now() - replicaMemoryMs)
        }),
      )
    },

    readReplicas: () =>
      attempt((open) => ({
        state: 'found',
        now: clock.now(),
        replicas: open.statements.readReplicas.all().map((row) => ({
          id: String(row['id']),
          text: String(row['about']),
          heardAt: Number(row['heard_at']),
        })),
      })),

    async close() {
      clearInterval(polling)
      clearInterval(probing)
      clearInterval(sweeping)
      isClosed = true
      if (file.database.isOpen) file.database.close()
    },
  }
}

/** Tries again while another process has the file locked. Waiting within SQLite would stop every request of this one. */
async function patiently<T>(work: () => T, patienceMs: number): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (sqliteFault(error) !== 'busy' || performance.now() > deadline) throw error
    }
    await sleep(1 + Math.random() * 9)
  }
}

function rollback({ database }: SqliteFile): void {
  try {
    database.exec('ROLLBACK')
  } catch (error) {
    if (sqliteFault(error) === undefined) throw error
  }
}

function insertRule({ statements }: SqliteFile, { key, before, reason, expiresAt }: Rule): void {
  statements.writeRule.run({ key, before, reason, expiresAt })
}

function ruleOf(row: Record<string, unknown>): Rule {
  return {
    key: row['key'] as RuleKey,
    before: Number(row['before']),
    reason: row['reason'] as Rule['reason'],
    expiresAt: Number(row['expires_at']),
  }
}
