import type { SessionIdentity } from '../session-cookies.ts'
import type { Unknown } from './ledger.ts'
import type { SessionRecord } from './protocol.ts'
import { isAbout, parseRuleKey, type Rule, type RuleSet } from './rules.ts'

/**
 * Who is logged in and which processes there are, for operators. It names subjects by their hashes, and holds no token.
 * Off the path of requests: some of it looks at every session. Records that cannot be read, because they are damaged or of a
 * newer release, are left out; `unreadable` tells how many.
 */
export interface SessionDirectory {
  /** The live sessions of a subject, the newest first; at most {@link maxListed}. */
  ofSubject(
    subjectHash: string,
  ): Promise<Unknown | { readonly state: 'found'; readonly sessions: SessionEntry[]; readonly unreadable: number }>
  /** One live session. */
  find(
    sid: string,
  ): Promise<
    Unknown | { readonly state: 'found'; readonly session: SessionEntry | undefined; readonly unreadable: number }
  >
  /** How many live sessions a rule would end. */
  count(
    rule: Pick<Rule, 'key' | 'before'>,
  ): Promise<Unknown | { readonly state: 'counted'; readonly sessions: number; readonly unreadable: number }>
  /** Tells the other processes that this one lives; to be repeated. It is forgotten after {@link replicaMemoryMs}. */
  announce(id: string, about: ReplicaFacts): Promise<void>
  /** The processes that were heard of lately. */
  replicas(): Promise<Unknown | { readonly state: 'found'; readonly replicas: Replica[] }>
}

/** A session as an operator sees it. Instants are milliseconds on the ledger's clock. */
export interface SessionEntry {
  readonly sid: string
  readonly startedAt: number
  /** The last activity that moved the idle deadline, which happens at most once a minute. */
  readonly activeAt: number
  readonly idleAt: number
  readonly absoluteAt: number
  readonly generation: number
  readonly subjectHash: string
  readonly asSessionHash: string | undefined
  readonly clientHash: string | undefined
  /** The key that sealed its newest cookies. */
  readonly kid: string | undefined
}

/** What a process tells of itself. */
export interface ReplicaFacts {
  readonly version: string
  /** `agent and proxy`, `agent` or `proxy`. */
  readonly parts: string
  readonly host: string
  readonly pid: number
  /** Milliseconds since 1970, on the clock of that machine. */
  readonly startedAt: number
  /** Keys that it opens cookies with. */
  readonly kids: readonly string[]
}

/** A process that was heard of, and how it goes by the rules. */
export interface Replica extends ReplicaFacts {
  readonly id: string
  /** Milliseconds, the ledger's clock: when it was heard of last. */
  readonly heardAt: number
  /** Milliseconds since it was heard of last. */
  readonly silentForMs: number
  /** How many rules it held. */
  readonly rules: number
  /** How far it had followed the rules, in the store's own terms. */
  readonly position: string
  /** For how long it may have missed rules, milliseconds; `null` before it knew any. */
  readonly staleForMs: number | null
}

/** What a store has to do for a directory. */
export interface DirectoryStore {
  /** Fed by the store with every rule, its own and those of other replicas. */
  readonly rules: RuleSet
  /** How far this process has followed the rules. */
  position(): string
  /** The records of a subject, expired and ended ones perhaps included. */
  readSubject(subjectHash: string): Promise<Unknown | FoundRecords>
  readSession(sid: string): Promise<Unknown | FoundRecords>
  /** Shows every record once; one that is written meanwhile may be left out. */
  visitSessions(
    visit: (sid: string, record: SessionRecord, now: number) => void,
  ): Promise<Unknown | { readonly state: 'visited'; readonly unreadable: number }>
  putReplica(id: string, text: string): Promise<void>
  readReplicas(): Promise<
    Unknown | { readonly state: 'found'; readonly now: number; readonly replicas: readonly StoredReplica[] }
  >
}

export interface FoundRecords {
  readonly state: 'found'
  /** Milliseconds, the ledger's clock. */
  readonly now: number
  readonly records: readonly (readonly [sid: string, record: SessionRecord])[]
  readonly unreadable: number
}

export interface StoredReplica {
  readonly id: string
  readonly text: string
  readonly heardAt: number
}

/** A subject with more sessions is shown its newest. */
export const maxListed = 1000
/** A process that is silent for longer is taken for dead. */
export const replicaMemoryMs = 30_000

export function createDirectory(store: DirectoryStore): SessionDirectory {
  const { rules } = store

  function isLive({ ended, absoluteAt, activeAt, idleMs }: SessionRecord, now: number): boolean {
    return ended === undefined && now < absoluteAt && now < activeAt + idleMs
  }

  function liveEntries({ records, now }: FoundRecords): SessionEntry[] {
    return records
      .filter(([, record]) => isLive(record, now))
      .flatMap(([sid, record]) => entryOf(sid, record))
      .filter((entry) => rules.endOf(entry) === undefined)
      .toSorted((a, b) => b.startedAt - a.startedAt)
  }

  return {
    async ofSubject(subjectHash) {
      const found = await store.readSubject(subjectHash)
      if (found.state === 'unknown') return found
      return { state: 'found', sessions: liveEntries(found).slice(0, maxListed), unreadable: found.unreadable }
    },

    async find(sid) {
      const found = await store.readSession(sid)
      if (found.state === 'unknown') return found
      return { state: 'found', session: liveEntries(found)[0], unreadable: found.unreadable }
    },

    async count(rule) {
      let sessions = 0
      const visit = (sid: string, record: SessionRecord, now: number): void => {
        if (!isLive(record, now)) return
        for (const entry of entryOf(sid, record)) {
          if (rules.endOf(entry) === undefined && isAbout(rule, entry, entry.clientHash)) sessions++
        }
      }
      const { kind, id } = parseRuleKey(rule.key)
      const isOfSubject = kind === 'sub' || kind === 'sub-without-sid'
      const read = await (kind === 'sid'
        ? store.readSession(id)
        : isOfSubject
          ? store.readSubject(id)
          : store.visitSessions(visit))
      if (read.state === 'unknown') return read
      if (read.state === 'found') for (const [sid, record] of read.records) visit(sid, record, read.now)
      return { state: 'counted', sessions, unreadable: read.unreadable }
    },

    async announce(id, facts) {
      const staleMs = rules.staleForMs()
      const about: ReplicaAnnouncement = {
        ...facts,
        rules: rules.size,
        position: store.position(),
        staleForMs: Number.isFinite(staleMs) ? Math.round(staleMs) : null,
      }
      await store.putReplica(id, JSON.stringify(about))
    },

    async replicas() {
      const found = await store.readReplicas()
      if (found.state === 'unknown') return found
      const heard = found.replicas.filter(({ heardAt }) => found.now - heardAt < replicaMemoryMs)
      return {
        state: 'found',
        replicas: heard.map(({ id, text, heardAt }) => ({
          ...(JSON.parse(text) as ReplicaAnnouncement),
          id,
          heardAt,
          silentForMs: Math.max(0, found.now - heardAt),
        })),
      }
    },
  }
}

type ReplicaAnnouncement = Omit<Replica, 'id' | 'heardAt' | 'silentForMs'>

type IdentifiedEntry = SessionEntry & SessionIdentity

/** Nothing for a login that was not completed, or a record of an earlier release that was not shown since. */
function entryOf(sid: string, record: SessionRecord): [] | [IdentifiedEntry] {
  const { owner, startedAt, activeAt, idleMs, absoluteAt, generation } = record
  if (owner === undefined) return []
  return [
    {
      sid,
      startedAt,
      activeAt,
      idleAt: activeAt + idleMs,
      absoluteAt,
      generation,
      subjectHash: owner.subject,
      asSessionHash: owner.asSession,
      clientHash: owner.client,
      kid: owner.kid,
    },
  ]
}
