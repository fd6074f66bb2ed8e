import { open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditPlace } from './schema.ts'

/** `audit-20261127-1f0c9a6be2d4-0000.jsonl`: the day (UTC) that the part began, its chain, and its number there. */
const fileName = /^audit-(\d{4})(\d{2})(\d{2})-([0-9a-f]{12})-(\d{4,8})\.jsonl$/

export interface AuditFile {
  readonly name: string
  /** `2026-11-27` */
  readonly day: string
  readonly chain: string
  readonly part: number
}

export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

export function auditFileName({ day, chain, part }: Omit<AuditFile, 'name'>): string {
  return `audit-${day.replaceAll('-', '')}-${chain}-${String(part).padStart(4, '0')}.jsonl`
}

export function parseAuditFileName(name: string): AuditFile | undefined {
  const [, year, month, day, chain = '', part = ''] = fileName.exec(name) ?? []
  return year === undefined ? undefined : { name, day: `${year}-${month}-${day}`, chain, part: Number(part) }
}

/** The files of the log in a folder, oldest day first, the parts of a chain in order; none if there is no folder. */
export async function listAuditFiles(folder: string): Promise<AuditFile[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  })
  return inOrder(names.flatMap((name) => parseAuditFileName(name) ?? []))
}

/** A part counts as no older than the one before: where a clock was set back over midnight, its name says that it is. */
function inOrder(files: readonly AuditFile[]): AuditFile[] {
  const newest = new Map<string, string>()
  return files
    .toSorted((a, b) => a.part - b.part)
    .map((file) => {
      const before = newest.get(file.chain) ?? ''
      const since = before > file.day ? before : file.day
      newest.set(file.chain, since)
      return { file, since }
    })
    .toSorted(
      (a, b) => a.since.localeCompare(b.since) || a.file.chain.localeCompare(b.file.chain) || a.file.part - b.file.part,
    )
    .map(({ file }) => file)
}

/** Files whose day is longer ago than the retention. */
export function pastRetention(files: readonly AuditFile[], now: number, retentionDays: number): AuditFile[] {
  const oldest = dayOf(now - retentionDays * 86_400_000)
  return files.filter(({ day }) => day < oldest)
}

export async function removeAuditFiles(folder: string, files: readonly AuditFile[]): Promise<void> {
  for (const { name } of files) {
    await unlink(join(folder, name)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    })
  }
}

const mostPlaces = 32
const tailBytes = 65_536

/** Where the newest chains of a folder have come to, so that a new part can bear witness to it. */
export async function placesIn(folder: string, except: string): Promise<AuditPlace[]> {
  const newest = new Map<string, AuditFile>()
  for (const file of await listAuditFiles(folder)) if (file.chain !== except) newest.set(file.chain, file)
  const places: AuditPlace[] = []
  for (const { name } of [...newest.values()].toReversed().slice(0, mostPlaces)) {
    const place = await lastRecordOf(join(folder, name)).catch(() => undefined)
    if (place !== undefined) places.push({ file: name, ...place })
  }
  return places
}

async function lastRecordOf(path: string): Promise<Omit<AuditPlace, 'file'> | undefined> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const bytes = Buffer.alloc(Math.min(size, tailBytes))
    await file.read(bytes, 0, bytes.length, size - bytes.length)
    const lines = bytes.toString('utf8').split('\n')
    // The last piece is empty, or a line that is being written.
    const { chain, n, hash } = JSON.parse(lines.at(-2) ?? '') as AuditPlace
    return { chain, n, hash }
  } finally {
    await file.close()
  }
}
