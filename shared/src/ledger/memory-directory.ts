import type { Clock } from '../clock.ts'
import type { DirectoryStore, FoundRecords, StoredReplica } from './directory.ts'
import type { SessionRecord } from './protocol.ts'
import type { RuleSet } from './rules.ts'

/** The directory of a store that lies in the memory of this process. */
export function createMemoryDirectory(
  rules: RuleSet,
  clock: Clock,
  records: () => Iterable<readonly [sid: string, record: SessionRecord]>,
): DirectoryStore {
  const replicas = new Map<string, StoredReplica>()
  const found = (wanted: (sid: string, record: SessionRecord) => boolean): FoundRecords => ({
    state: 'found',
    now: clock.now(),
    records: [...records()].filter(([sid, record]) => wanted(sid, record)),
    unreadable: 0,
  })
  return {
    rules,
    position: () => String(rules.size),
    readSubject: async (subjectHash) => found((_, { owner }) => owner?.subject === subjectHash),
    readSession: async (wanted) => found((sid) => sid === wanted),
    async visitSessions(visit) {
      for (const [sid, record] of records()) visit(sid, record, clock.now())
      return { state: 'visited', unreadable: 0 }
    },
    async putReplica(id, text) {
      replicas.set(id, { id, text, heardAt: clock.now() })
    },
    readReplicas: async () => ({ state: 'found', now: clock.now(), replicas: [...replicas.values()] }),
  }
}
