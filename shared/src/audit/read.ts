import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { listAuditFiles } from './files.ts'
import { auditRecordSchema, type AuditRecord } from './schema.ts'

/** A file that may hold records. */
export interface AuditSource {
  readonly name: string
  readonly path: string
  /** A capture of standard output: other lines are among the records. */
  readonly isMixed: boolean
  /** Looked at without the folder that it belongs to. */
  readonly isAlone: boolean
}

export interface AuditLine {
  /** From 1. */
  readonly number: number
  /** Where it begins in the file, in bytes. */
  readonly offset: number
  readonly text: string
  /** Whether it has its line feed; the last one may lack it. */
  readonly isWhole: boolean
}

/** The log's files of a folder, in order, or one file. */
export async function auditSources(path: string): Promise<AuditSource[]> {
  if (!(await stat(path)).isDirectory()) {
    const name = basename(path)
    return [{ name, path, isMixed: !name.startsWith('audit-'), isAlone: true }]
  }
  return (await listAuditFiles(path)).map(({ name }) => ({
    name,
    path: join(path, name),
    isMixed: false,
    isAlone: false,
  }))
}

/** Lines one after the other, whatever the size of the file. */
export async function* readLines({ path }: AuditSource): AsyncGenerator<AuditLine> {
  let rest = Buffer.alloc(0)
  let offset = 0
  let number = 0
  for await (const chunk of createReadStream(path)) {
    rest = Buffer.concat([rest, chunk as Buffer])
    let start = 0
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10, start)) {
      number += 1
      yield { number, offset: offset + start, text: rest.toString('utf8', start, end), isWhole: true }
      start = end + 1
    }
    offset += start
    rest = rest.subarray(start)
  }
  if (rest.length > 0) yield { number: number + 1, offset, text: rest.toString('utf8'), isWhole: false }
}

/** The record of a line; `undefined` where it is none. */
export function parseRecord(text: string): AuditRecord | undefined {
  try {
    const value: unknown = JSON.parse(text)
    // As it was parsed: the order of its members counts, for it is coded.
    return auditRecordSchema.safeParse(value).success ? (value as AuditRecord) : undefined
  } catch {
    return undefined
  }
}

/** Whether a line of mixed output claims to be a record. */
export function looksLikeRecord(text: string): boolean {
  return text.includes('"type":"audit"')
}
