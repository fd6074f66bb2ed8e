import { open } from 'node:fs/promises'
import { identityHash } from '../session-cookies.ts'
import { erasureCode, whoCode } from './chain.ts'
import type { AuditKey } from './keys.ts'
import { parseRecord, readLines, type AuditLine, type AuditSource } from './read.ts'
import type { AuditRecord, AuditWho } from './schema.ts'

export interface SubjectSearch {
  readonly sources: readonly AuditSource[]
  /** Pseudonyms are made anew under each. */
  readonly keys: readonly AuditKey[]
  readonly issuer: string
  readonly subject: string
}

interface Found {
  readonly source: AuditSource
  readonly line: AuditLine
  readonly record: AuditRecord & { readonly who: AuditWho }
}

/** Every record that names the subject, or one of the sessions that some record says are the subject's. */
export async function* recordsOfSubject(search: SubjectSearch): AsyncGenerator<Found> {
  const { sources, keys, issuer, subject } = search
  const pseudonyms = new Set(keys.map((key) => key.pseudonymOf(identityHash(issuer, subject))))
  const isSubject = (who: AuditWho): boolean => who.sub === subject || pseudonyms.has(who.subject ?? '')
  const sids = new Set<string>()
  for await (const { record } of namedRecords(sources)) {
    if (isSubject(record.who) && record.who.sid !== undefined) sids.add(record.who.sid)
  }
  for await (const found of namedRecords(sources)) {
    if (isSubject(found.record.who) || sids.has(found.record.who.sid ?? '')) yield found
  }
}

async function* namedRecords(sources: readonly AuditSource[]): AsyncGenerator<Found> {
  for (const source of sources) {
    for await (const line of readLines(source)) {
      const record = line.isWhole ? parseRecord(line.text) : undefined
      if (record?.who !== undefined) yield { source, line, record: { ...record, who: record.who } }
    }
  }
}

/**
 * Writes over whom the records of a subject name, in place: nothing moves, so a process that appends to the same file is not
 * disturbed, and the chain holds, for it holds a code of what was there. What remains leads to nobody.
 * @returns how many records were changed, and of which no key is known, so that they stay as they are.
 */
export async function eraseSubject(search: SubjectSearch): Promise<{ readonly erased: number; readonly left: number }> {
  let erased = 0
  let left = 0
  const keys = await keysOfChains(search)
  for await (const { source, line, record } of recordsOfSubject(search)) {
    const { who_hash: whoHash, who } = record
    const candidates = keys.get(`${source.name} ${record.chain}`) ?? []
    const key = candidates.find((one) => whoCode(one, who) === whoHash) ?? candidates[0]
    const before = `"who":${JSON.stringify(who)}`
    const at = line.text.lastIndexOf(before)
    if (key === undefined || whoHash === undefined || at === -1) {
      left += 1
      continue
    }
    const length = Buffer.byteLength(before)
    const after = `"erased":"${erasureCode(key, whoHash)}"`.padEnd(length)
    const file = await open(source.path, 'r+')
    try {
      await file.write(Buffer.from(after), 0, length, line.offset + Buffer.byteLength(line.text.slice(0, at)))
      await file.datasync()
    } finally {
      await file.close()
    }
    erased += 1
  }
  return { erased, left }
}

/**
 * The key of each chain in each file, as its first record there says. A chain changes keys only where a part begins. Keys
 * that were derived for several issuers have one id.
 */
async function keysOfChains({ sources, keys }: SubjectSearch): Promise<Map<string, readonly AuditKey[]>> {
  const byKid = Map.groupBy(keys, ({ kid }) => kid)
  const found = new Map<string, readonly AuditKey[]>()
  for (const source of sources) {
    for await (const { text } of readLines(source)) {
      if (!text.includes('"event":"log_opened"')) continue
      const record = parseRecord(text)
      const named = byKid.get(record?.log?.kid ?? '')
      if (record !== undefined && named !== undefined) found.set(`${source.name} ${record.chain}`, named)
    }
  }
  return found
}
