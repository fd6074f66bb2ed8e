import { UsageError, type CommandLine } from './usage.ts'

type OptionName = Exclude<keyof CommandLine, 'args' | 'config'>

/** What each command takes besides `--config`, which any may be given. */
const optionsOf: Readonly<Record<string, readonly OptionName[]>> = {
  start: ['only', 'workers'],
  check: ['only'],
  'keys generate': ['out'],
  'keys list': ['file'],
  'keys export': ['purpose', 'out'],
  'keys add': ['from', 'file'],
  'keys activate': ['force', 'file'],
  'keys retire': ['dry-run', 'force', 'file'],
  sessions: ['sub', 'sid', 'issuer', 'json'],
  revoke: ['sub', 'sid', 'as-sid', 'client', 'kid', 'all', 'issuer', 'before', 'reason', 'dry-run', 'json'],
  'audit verify': ['head', 'stopped', 'issuer', 'client', 'json'],
  'audit export': ['sub', 'issuer', 'client', 'out'],
  'audit erase': ['sub', 'issuer', 'client'],
  schema: [],
}

/**
 * Refuses options that other commands have: a `--dry-run` that a command does not know would not be one.
 * @param words Command, and action where it has some; one that is not known is left to the command.
 * @throws UsageError that names the options and the command.
 */
export function refuseOtherOptions([name = '', action = '']: readonly string[], given: object): void {
  const command = Object.hasOwn(optionsOf, name) ? name : `${name} ${action}`
  const taken: readonly string[] | undefined = Object.hasOwn(optionsOf, command) ? optionsOf[command] : undefined
  if (taken === undefined) return
  const others = Object.keys(given).filter((option) => !common.has(option) && !taken.includes(option))
  if (others.length > 0) throw new UsageError(`${command} takes no ${others.map((option) => `--${option}`).join(', ')}`)
}

const common: ReadonlySet<string> = new Set(['config', 'help', 'version'])
