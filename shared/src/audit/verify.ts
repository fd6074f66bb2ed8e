import { erasureCode, recordCode, whoCode } from './chain.ts'
import { parseAuditFileName } from './files.ts'
import type { AuditKey } from './keys.ts'
import { looksLikeRecord, parseRecord, readLines, type AuditLine, type AuditSource } from './read.ts'
import type { AuditPlace, AuditRecord } from './schema.ts'

/** A place where the log is not as it was written. */
export interface AuditProblem {
  readonly file: string
  /** From 1; 0 where it is about the file. */
  readonly line: number
  readonly what: string
}

/** A chain without an end: of a process that runs, that was killed, or whose last records were cut off. */
export interface OpenChain {
  readonly chain: string
  readonly file: string
  readonly n: number
  readonly time: string
}

export interface Verification {
  readonly files: number
  readonly chains: number
  readonly records: number
  readonly erased: number
  /** In the order of files and lines; empty when all is as it was written. */
  readonly problems: readonly AuditProblem[]
  readonly open: readonly OpenChain[]
}

interface ChainState {
  n: number
  hash: string
  key: AuditKey | undefined
  file: string
  time: string
  isClosed: boolean
}

/**
 * Follows every chain through the files, and holds against them what later records bear witness to.
 * @param heads Places that the operational log named (`audit_head`); the log must reach them.
 */
export async function verifyAudit(
  sources: readonly AuditSource[],
  keys: readonly AuditKey[],
  heads: readonly AuditPlace[] = [],
): Promise<Verification> {
  const byKid = Map.groupBy(keys, ({ kid }) => kid)
  const chains = new Map<string, ChainState>()
  const problems: AuditProblem[] = []
  const witnesses: { readonly place: AuditPlace; readonly file: string; readonly line: number }[] = []
  const removed = new Set<string>()
  const unreadable = new Set<string>()
  let records = 0
  let erased = 0

  function judge(record: AuditRecord, file: string, line: number): void {
    const report = (what: string): void => void problems.push({ file, line, what })
    let state = chains.get(record.chain)
    const { log } = record
    if (record.event === 'log_opened' && log !== undefined) {
      const before = state?.hash ?? log.previous?.hash ?? ''
      // Keys that were derived for several issuers or clients have one id.
      const named = byKid.get(log.kid) ?? []
      const key = named.find((one) => recordCode(one, before, record) === record.hash) ?? named[0]
      if (key === undefined && !unreadable.has(log.kid)) {
        unreadable.add(log.kid)
        report(`is coded under the key ${log.kid}, which is not known here`)
      }
      for (const place of [log.previous, ...(log.others ?? [])]) {
        if (place !== undefined) witnesses.push({ place, file, line })
      }
      // The parts before are gone: the record says where they ended.
      state ??= {
        n: log.previous?.n ?? -1,
        hash: log.previous?.hash ?? '',
        key,
        file,
        time: record.time,
        isClosed: false,
      }
      state.key = key
      chains.set(record.chain, state)
    }
    if (state === undefined) {
      report('begins in the middle: the file that holds the beginning is missing, or the beginning was cut off')
      state = { n: record.n - 1, hash: '', key: undefined, file, time: record.time, isClosed: false }
      chains.set(record.chain, state)
    } else if (record.n > state.n + 1)
      report(`records ${state.n + 1} to ${record.n - 1} of chain ${record.chain} are missing`)
    else if (record.n <= state.n) report(`record ${record.n} of chain ${record.chain} comes again, or too late`)
    else if (state.key !== undefined && recordCode(state.key, state.hash, record) !== record.hash) {
      const orOther = log === undefined ? '' : ', or is coded for another issuer or client (--issuer, --client)'
      report(`was changed, or does not follow the record before${orOther}`)
    }
    if (state.key !== undefined) judgeWho(record, state.key, report)
    if (record.event === 'records_removed') record.details?.files?.forEach((name) => removed.add(name))
    Object.assign(state, { n: Math.max(state.n, record.n), hash: record.hash, file, time: record.time })
    state.isClosed = record.event === 'log_closed'
  }

  function judgeWho(record: AuditRecord, key: AuditKey, report: (what: string) => void): void {
    const { who, who_hash: whoHash, erased: proof } = record
    if (proof !== undefined) erased += 1
    if (whoHash === undefined) {
      if (who !== undefined || proof !== undefined) report('names somebody whom it did not name when it was written')
    } else if (who !== undefined) {
      if (proof !== undefined || whoCode(key, who) !== whoHash) report('names somebody else than when it was written')
    } else if (proof !== erasureCode(key, whoHash)) report('has lost whom it named, without the key')
  }

  for (const source of sources) {
    for await (const line of readLines(source)) {
      if (source.isMixed && !looksLikeRecord(line.text)) continue
      const record = line.isWhole ? parseRecord(line.text) : undefined
      if (record === undefined) problems.push({ file: source.name, line: line.number, what: whatIsWrong(line) })
      else {
        records += 1
        judge(record, source.name, line.number)
      }
    }
  }
  const present = new Set(sources.map(({ name }) => name))
  const named = new Set<string>()
  const isFolder = sources.every(({ isAlone }) => !isAlone)
  for (const { place, file, line } of [
    ...witnesses,
    ...heads.map((head) => ({ place: head, file: 'head', line: 0 })),
  ]) {
    const state = chains.get(place.chain)
    const { file: seen } = place
    if (seen !== undefined && isFolder && !present.has(seen) && !removed.has(seen)) {
      if (!named.has(seen)) problems.push({ file: seen, line: 0, what: `is missing; ${file}:${line} saw it` })
      named.add(seen)
    } else if (state !== undefined && state.n < place.n) {
      const what = `ends at record ${state.n} of chain ${place.chain}, but ${file}:${line} saw record ${place.n}: its end was cut off`
      problems.push({ file: state.file, line: 0, what })
    } else if (state === undefined && file === 'head') {
      problems.push({ file: place.chain, line: 0, what: 'is not there: no file has a record of this chain' })
    }
  }
  const open = [...chains].flatMap(([chain, { isClosed, file, n, time }]) =>
    isClosed ? [] : [{ chain, file, n, time }],
  )
  return { files: sources.length, chains: chains.size, records, erased, problems: inOrder(problems, sources), open }
}

function whatIsWrong({ isWhole }: AuditLine): string {
  return isWhole ? 'is not a record' : 'is cut off in the middle'
}

function inOrder(problems: readonly AuditProblem[], sources: readonly AuditSource[]): AuditProblem[] {
  const places = new Map(sources.map(({ name }, index) => [name, index]))
  const placeOf = ({ file }: AuditProblem): number => places.get(file) ?? -1
  const dayOf = ({ file }: AuditProblem): string => parseAuditFileName(file)?.day ?? ''
  return problems.toSorted((a, b) => placeOf(a) - placeOf(b) || dayOf(a).localeCompare(dayOf(b)) || a.line - b.line)
}
