import { maxListed, replicaMemoryMs, type DirectoryStore, type FoundRecords } from './directory.ts'
import type { Unknown } from './ledger.ts'
import { RedisFailure, type RedisConnection } from './redis-connection.ts'
import type { RedisFeed } from './redis-feed.ts'
import { replicaScript, replicasScript, type RedisKeys } from './redis-scripts.ts'
import { readSessions } from './stored-record.ts'

export interface RedisDirectoryOptions {
  readonly keys: RedisKeys
  readonly connection: RedisConnection
  readonly feed: RedisFeed
  readonly ledgerTime: (serverMs: number) => number
  /** Turns failures of the server into `unknown`. */
  readonly attempt: <T>(work: () => Promise<T | Unknown>) => Promise<T | Unknown>
}

/** Records that are asked for in one command. */
const pageLength = 200

/** Finds records by two sorted sets, those of a subject and those of all; it never walks through the server's keys. */
export function createRedisDirectory({
  keys,
  connection,
  feed,
  ledgerTime,
  attempt,
}: RedisDirectoryOptions): Omit<DirectoryStore, 'rules' | 'position'> {
  async function read(sids: readonly string[]): Promise<FoundRecords> {
    const { incarnation } = feed
    if (incarnation === undefined) throw new RedisFailure('not_synchronised')
    const stored: [sid: string, text: string][] = []
    for (let at = 0; at < sids.length; at += pageLength) {
      const page = sids.slice(at, at + pageLength)
      const texts = (await connection.command(['MGET', ...page.map((sid) => keys.session(sid))])) as (string | null)[]
      texts.forEach((text, index) => {
        if (text !== null) stored.push([page[index]!, text])
      })
    }
    return { state: 'found', now: feed.now(), ...readSessions(stored, incarnation.id) }
  }

  return {
    readSubject: (subjectHash) =>
      attempt(async () => {
        const range = ['+inf', String(feed.now()), 'LIMIT', '0', String(maxListed)]
        return read((await connection.command(['ZREVRANGEBYSCORE', keys.subject(subjectHash), ...range])) as string[])
      }),

    readSession: (sid) => attempt(() => read([sid])),

    visitSessions: (visit) =>
      attempt(async () => {
        // By score rather than by place: what is forgotten meanwhile moves all places.
        let from = String(feed.now())
        let skipped = 0
        let unreadable = 0
        for (;;) {
          const range = [from, '+inf', 'WITHSCORES', 'LIMIT', String(skipped), String(pageLength)]
          const reply = (await connection.command(['ZRANGEBYSCORE', keys.sessions, ...range])) as string[]
          const sids = reply.filter((_, index) => index % 2 === 0)
          const scores = reply.filter((_, index) => index % 2 === 1)
          const { records, now, unreadable: left } = await read(sids)
          for (const [sid, record] of records) visit(sid, record, now)
          unreadable += left
          const last = scores.at(-1)
          if (last === undefined) return { state: 'visited', unreadable } as const
          skipped = scores.filter((score) => score === last).length + (last === from ? skipped : 0)
          from = last
        }
      }),

    async putReplica(id, text) {
      await attempt(() => connection.script(replicaScript, [keys.replicas], [id, text, String(replicaMemoryMs)]))
    },

    readReplicas: () =>
      attempt(async () => {
        const [serverMs, fields] = (await connection.script(replicasScript, [keys.replicas], [])) as [string, string[]]
        const replicas = fields.flatMap((id, index) => {
          if (index % 2 === 1) return []
          const [, heardAt = '', text = ''] = /^(\d+) (.*)$/s.exec(fields[index + 1] ?? '') ?? []
          return [{ id, text, heardAt: ledgerTime(Number(heardAt)) }]
        })
        return { state: 'found', now: ledgerTime(Number(serverMs)), replicas } as const
      }),
  }
}
