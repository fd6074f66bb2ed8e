import { existsSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import {
  auditFolder,
  auditKeysOf,
  auditSources,
  buildKeyRing,
  eraseSubject,
  keyRingAuditKeys,
  loadConfig,
  loadKeyFile,
  openAuditLog,
  recordsOfSubject,
  silentLogger,
  systemClock,
  verifyAudit,
  type AuditEvent,
  type AuditKey,
  type SubjectSearch,
} from '@token-handler/shared'
import { keyContextOf, keyFilePath } from '../key-ring-file.ts'
import { UsageError, type CommandLine } from '../usage.ts'

/** `audit verify | export | erase` */
export async function audit(line: CommandLine): Promise<void> {
  const [action, path, ...more] = line.args
  if (more.length > 0) throw new UsageError('audit takes one file or folder')
  if (action === 'verify') await verify(line, path)
  else if (action === 'export') await exportSubject(line, path)
  else if (action === 'erase') await erase(line, path)
  else throw new UsageError('audit takes verify, export or erase')
}

/** What a command reads, and where it records that it did. */
interface Opened {
  readonly path: string
  readonly keys: readonly AuditKey[]
  /** Whose subjects are meant. */
  readonly issuer: string
  /** Writes one event into the configured folder; nothing where other files are looked at. */
  record(event: AuditEvent): Promise<void>
}

function open({ config: file, ...line }: CommandLine, given: string | undefined): Opened {
  const config = loadConfig(file, { only: 'command', env: process.env })
  const { sink } = config.audit
  if (given === undefined && sink !== 'files') {
    throw new UsageError(`audit.sink is ${sink}: name a file that its lines were captured in`)
  }
  const context = keyContextOf(config)
  const former = { issuer: line.issuer ?? context.issuer, clientId: line.client ?? context.clientId }
  const { issuer } = former
  const keyFile = loadKeyFile(keyFilePath(file, config))
  const ring = buildKeyRing(keyFile, context)
  const folder = dirname(file)
  const configured = auditFolder(config, folder)
  const path = given === undefined ? configured : resolve(given)
  const known = [config.audit.key === undefined ? [] : auditKeysOf(config, () => ring).all()]
  // Keys from the key file are derived for an issuer and a client: the records of former ones were made with others.
  const isOther = issuer !== context.issuer || former.clientId !== context.clientId
  const rings = isOther ? [ring, buildKeyRing(keyFile, former)] : [ring]
  for (const each of rings) if (each.sealingKey('audit') !== undefined) known.push(keyRingAuditKeys(() => each).all())
  const keys = known.flat()
  if (keys.length === 0) throw new UsageError('neither the configuration nor the key file has a key for the audit log')
  return {
    path,
    keys,
    issuer,
    async record(event) {
      if (sink !== 'files' || path !== configured) return
      const ours = { ...config, authorization_server: { ...config.authorization_server, issuer } }
      const log = openAuditLog(ours, { ring: () => ring, clock: systemClock, logger: silentLogger, folder })
      log.record({ ...event, actor: 'command-line' })
      await log.close()
    },
  }
}

async function verify(line: CommandLine, given: string | undefined): Promise<void> {
  const { path, keys } = open(line, given)
  const result = await verifyAudit(await auditSources(path), keys, (line.head ?? []).map(parseHead))
  const { files, chains, records, erased, problems, open: unfinished } = result
  if (line.json === true) process.stdout.write(`${JSON.stringify(result)}\n`)
  else {
    process.stdout.write(`${files} files, ${chains} chains, ${records} records, ${erased} erased\n`)
    for (const { chain, file, n, time } of unfinished) {
      process.stdout.write(`open: chain ${chain} in ${file} has no end; its last record is ${n}, of ${time}\n`)
    }
    for (const { file, line: number, what } of problems) {
      process.stdout.write(`${number === 0 ? file : `${file}:${number}`}: ${what}\n`)
    }
    if (problems.length > 0) process.stdout.write(`${problems.length} problems found\n`)
    else if (records > 0) process.stdout.write('no problem found\n')
  }
  if (records === 0) process.stderr.write(`token-handler: no audit records found in ${path}\n`)
  if (records === 0 || problems.length > 0 || (line.stopped === true && unfinished.length > 0)) process.exitCode = 1
}

/** As the operational log tells it in `audit_head`. */
function parseHead(text: string): { chain: string; n: number; hash: string } {
  const [, chain = '', n, hash = ''] = /^([0-9a-f]{12}):(\d{1,15}):([\w-]{43})$/.exec(text) ?? []
  if (n === undefined) throw new UsageError('--head takes CHAIN:N:HASH, as the log line audit_head has them')
  return { chain, n: Number(n), hash }
}

async function searchFor({ sub }: CommandLine, { path, keys, issuer }: Opened): Promise<SubjectSearch> {
  if (sub === undefined) throw new UsageError('audit export and audit erase need --sub SUB')
  return { sources: await auditSources(path), keys, issuer, subject: sub }
}

async function exportSubject(line: CommandLine, given: string | undefined): Promise<void> {
  const opened = open(line, given)
  const search = await searchFor(line, opened)
  const { out } = line
  if (out !== undefined && existsSync(out)) throw new UsageError(`${out} exists already; choose another name`)
  let count = 0
  const lines: string[] = []
  for await (const { line: found } of recordsOfSubject(search)) {
    count += 1
    if (out === undefined) process.stdout.write(`${found.text}\n`)
    else lines.push(`${found.text}\n`)
  }
  if (out !== undefined) writeFileSync(out, lines.join(''), { mode: 0o600, flag: 'wx' })
  await opened.record({ event: 'subject_exported', outcome: 'success', subject: search.subject, details: { count } })
}

async function erase(line: CommandLine, given: string | undefined): Promise<void> {
  const opened = open(line, given)
  const { erased, left } = await eraseSubject(await searchFor(line, opened))
  // Not whom: the record would name the subject anew.
  await opened.record({
    event: 'subject_erased',
    outcome: left === 0 ? 'success' : 'failure',
    details: { count: erased },
  })
  process.stdout.write(`${erased} records erased\n`)
  if (left === 0) return
  process.stderr.write(`token-handler: ${left} records name the user still: their key is not known here\n`)
  process.exitCode = 1
}
