import {
  activateKey,
  addKeys,
  generateKey,
  keyOf,
  KeyRotationError,
  lastCookieAt,
  LedgerOpenError,
  loadConfig,
  loadKeyFile,
  retireKey,
  type Config,
  type Ledger,
  type Replica,
  type RuleKey,
} from '@token-handler/shared'
import { changeKeyFile } from '../key-file-change.ts'
import { keyFilePath } from '../key-ring-file.ts'
import { withLedger } from '../ledger-command.ts'
import { UsageError, type CommandLine } from '../usage.ts'

/** `keys add [--from FILE]`: a key that opens on every replica before it seals on any. */
export function addKey(line: CommandLine): void {
  const path = line.file ?? configured(line).path
  const others = line.from === undefined ? undefined : loadKeyFile(line.from).keys
  const known = new Set(loadKeyFile(path).keys.map(({ kid }) => kid))
  const file = changeKeyFile(path, (before) => {
    if (others === undefined && before.keys.some(({ derived }) => derived !== undefined)) {
      throw new KeyRotationError(
        'this file has derived keys; make the key where the master keys are, and add its export',
      )
    }
    return addKeys(before, others ?? [generateKey('pending', new Date())])
  })
  const fresh = file.keys.filter(({ kid }) => !known.has(kid)).map(({ kid }) => kid)
  say(fresh.length === 0 ? 'Nothing to add.' : `Added, pending: ${fresh.join(', ')}`)
}

/** `keys activate KID [--force]` */
export async function activate(line: CommandLine): Promise<void> {
  const kid = kidOf(line)
  const { path } = configured(line)
  // What the file itself refuses is said first.
  const before = loadKeyFile(path)
  if (activateKey(before, kid, new Date()) === before) return say(`${kid} is active.`)
  const obstacle = await askLedger(line, (ledger) => missingOn(ledger, kid))
  allow(line, obstacle)
  changeKeyFile(path, (file) => activateKey(file, kid, new Date()))
  say(`${kid} is active; what it replaces opens until it is retired.`)
}

/** `keys retire KID [--dry-run] [--force]` */
export async function retire(line: CommandLine): Promise<void> {
  const kid = kidOf(line)
  const { path, config } = configured(line)
  const before = loadKeyFile(path)
  retireKey(before, kid)
  const entry = keyOf(before, kid)
  if (entry.state === 'retired') return say(`${kid} is retired.`)
  let sealed: number | undefined
  const unasked = await askLedger(line, async (ledger) => {
    const counted = await ledger.directory.count(sealedBy(kid))
    if (counted.state === 'unknown') return unreachable
    sealed = counted.sessions
    const { unreadable } = counted
    return unreadable === 0 ? undefined : `records in the ledger that cannot be read, and so may be its: ${unreadable}`
  })
  if (sealed !== undefined) say(`Live sessions whose newest cookies ${kid} sealed: ${sealed}.`)
  const obstacles = [unasked, sealed ? `${sealed} live sessions would end` : undefined, tooYoung(entry, config)]
  const obstacle = obstacles.filter((one) => one !== undefined).join('; ') || undefined
  if (line['dry-run'] === true) {
    return say(obstacle === undefined ? `${kid} can be retired.` : `Retiring it is refused: ${obstacle}.`)
  }
  allow(line, obstacle)
  changeKeyFile(path, (file) => retireKey(file, kid))
  say(`${kid} is retired and its secret removed from this file; processes forget it when they read the file.`)
}

const unreachable = 'the ledger cannot be reached, so nobody knows'

function sealedBy(kid: string): { readonly key: RuleKey; readonly before: number } {
  return { key: `kid:${kid}`, before: Number.MAX_SAFE_INTEGER }
}

/** @returns Why not; nothing where every live process has the key. */
async function missingOn(ledger: Ledger, kid: string): Promise<string | undefined> {
  const found = await ledger.directory.replicas()
  if (found.state === 'unknown') return unreachable
  if (found.replicas.length === 0) return 'no running process was heard of in the ledger'
  const lacking = found.replicas.filter(({ kids }) => !kids.includes(kid))
  return lacking.length === 0 ? undefined : `it is unknown to ${lacking.map(nameOf).join(', ')}`
}

function nameOf({ host, pid, parts }: Replica): string {
  return `${parts} on ${host} (process ${pid})`
}

function tooYoung(entry: ReturnType<typeof keyOf>, { session }: Config): string | undefined {
  // A pending key has sealed nothing here.
  if (entry.state === 'pending') return undefined
  const until = lastCookieAt(entry, session.absolute_seconds)
  if (until === undefined) return 'the file does not tell since when the key seals no more'
  return until > Date.now() ? `cookies of it may live until ${new Date(until).toISOString()}` : undefined
}

/** Where no other process can be asked, that is what stands in the way. */
async function askLedger(
  { config }: CommandLine,
  ask: (ledger: Ledger) => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    return await withLedger(config, ask)
  } catch (error) {
    if (error instanceof UsageError) return 'there is no ledger to ask what other processes do'
    if (error instanceof LedgerOpenError) return unreachable
    throw error
  }
}

function allow({ force }: CommandLine, obstacle: string | undefined): void {
  if (obstacle === undefined) return
  if (force !== true)
    throw new KeyRotationError(`refused: ${obstacle}. Nothing was changed; --force does it all the same`)
  process.stderr.write(`token-handler: WARNING: forced, although ${obstacle}. Sessions may end.\n`)
}

function kidOf({ args: [action, kid, ...rest] }: CommandLine): string {
  if (kid === undefined || rest.length > 0) throw new UsageError(`keys ${action} needs one key id`)
  return kid
}

/** The configuration, and the key file that the command line or it names. */
export function configured({ config: file, file: keyFile }: CommandLine): {
  readonly path: string
  readonly config: Config
} {
  const config = loadConfig(file, { only: 'command', env: process.env })
  return { path: keyFile ?? keyFilePath(file, config), config }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
