import { parseArgs } from 'node:util'
import { ConfigError, KeyRotationError, LedgerOpenError } from '@token-handler/shared'
import { refuseOtherOptions } from './command-options.ts'
import { audit } from './commands/audit.ts'
import { check } from './commands/check.ts'
import { keys } from './commands/keys.ts'
import { revoke } from './commands/revoke.ts'
import { schema } from './commands/schema.ts'
import { sessions } from './commands/sessions.ts'
import { start } from './commands/start.ts'
import { LedgerUnreachableError } from './ledger-command.ts'
import { UsageError } from './usage.ts'
import { packageVersion } from './version.ts'
import { WorkerStartError } from './workers.ts'

const usage = `token-handler: keeps OAuth tokens out of JavaScript

  token-handler start [--only agent|proxy] [--workers auto|N] [--config FILE]
                                                             run it, in one process or in several
  token-handler check [--only agent|proxy] [--config FILE]   check the configuration, without running anything
  token-handler keys generate [--out FILE]                   make a key file
  token-handler keys list [--file FILE] [--config FILE]      show ids and states of the keys, never the keys
  token-handler keys export --purpose access-token|audit [--config FILE] [--out FILE]
                                                             make the key file of a proxy-only deployment, or of an
                                                             auditor, who can verify the audit log and open no cookie
  token-handler keys add [--from FILE] [--file FILE] [--config FILE]
                                                             add a new key, or those of another file: they open, and do not seal
  token-handler keys activate KID [--force] [--file FILE] [--config FILE]
                                                             seal with it, once every running process has it
  token-handler keys retire KID [--dry-run] [--force] [--file FILE] [--config FILE]
                                                             end a key, and the sessions that only it can open
  token-handler sessions --sub SUB | --sid SID [--issuer ISSUER] [--json] [--config FILE]
                                                             list live sessions: never a token
  token-handler revoke --sub SUB | --sid SID | --as-sid SID | --client ID | --kid KID | --all
                       [--issuer ISSUER] [--before TIME] [--reason WORD] [--dry-run] [--json] [--config FILE]
                                                             end sessions, now, on every process; --before is ISO 8601
  token-handler audit verify [FILE|DIR] [--head CHAIN:N:HASH]... [--stopped] [--issuer ISSUER] [--client ID]
                             [--json] [--config FILE]
                                                             find what is missing in, or was changed of, the audit log
  token-handler audit export --sub SUB [--issuer ISSUER] [--client ID] [FILE|DIR] [--out FILE] [--config FILE]
                                                             what is recorded of a user, as JSON lines
  token-handler audit erase --sub SUB [--issuer ISSUER] [--client ID] [FILE|DIR] [--config FILE]
                                                             erase from the audit log whatever leads to a user
  token-handler schema                                       print the JSON Schema of the configuration

  token-handler --version                                    print the version

  --config is token-handler.yaml unless given; --issuer, whose SUB, SID of --as-sid or client it is, the configured one.
  For the audit log --issuer and --client name former ones, for which its keys were derived.
`

const commands = { start, check, keys, audit, sessions, revoke, schema }

const options = {
  config: { type: 'string', default: 'token-handler.yaml' },
  only: { type: 'string' },
  workers: { type: 'string' },
  out: { type: 'string' },
  file: { type: 'string' },
  purpose: { type: 'string' },
  sub: { type: 'string' },
  sid: { type: 'string' },
  'as-sid': { type: 'string' },
  client: { type: 'string' },
  kid: { type: 'string' },
  all: { type: 'boolean' },
  issuer: { type: 'string' },
  before: { type: 'string' },
  reason: { type: 'string' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
  from: { type: 'string' },
  force: { type: 'boolean' },
  head: { type: 'string', multiple: true },
  stopped: { type: 'boolean' },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', default: false },
} as const

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    args: withValuesJoined(process.argv.slice(2)),
    options,
  })
  if (values.version) {
    process.stdout.write(`${packageVersion}\n`)
    return
  }
  const [name, ...rest] = positionals
  if (values.help || name === undefined || name === 'help') {
    process.stdout.write(usage)
    return
  }
  const command = Object.hasOwn(commands, name) ? commands[name as keyof typeof commands] : undefined
  if (command === undefined) throw new UsageError(`there is no command "${name}"`)
  // A slip such as `dry-run` for `--dry-run` must not do what it would have kept from being done.
  if (rest.length > 0 && command !== keys && command !== audit) throw new UsageError(`${name} takes no "${rest[0]}"`)
  refuseOtherOptions(positionals, values)
  await command({ ...values, args: rest })
}

/** `--sid -x` as `--sid=-x`, for ids may begin with a hyphen. What begins with two may be a slip, and stays an error. */
function withValuesJoined(args: readonly string[]): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const last = joined.at(-1)
    if (last !== undefined && takesValue(last) && /^-[^-]/.test(arg)) joined[joined.length - 1] = `${last}=${arg}`
    else joined.push(arg)
  }
  return joined
}

function takesValue(arg: string): boolean {
  const name = arg.replace(/^--/, '')
  return arg !== name && Object.hasOwn(options, name) && options[name as keyof typeof options].type === 'string'
}

/** What the usage says of a command, so that the error above it stays in sight; all of it where there is no such command. */
function usageOf(name: string | undefined): string {
  const entries = usage.split(/^(?= {2}token-handler |$)/m)
  const ofCommand = entries.filter((entry) => entry.startsWith(`  token-handler ${name} `))
  return ofCommand.length === 0 ? usage : `${ofCommand.join('')}\n  All commands: token-handler --help\n`
}

function isUsageError(error: unknown): error is Error {
  return (
    error instanceof UsageError ||
    (error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS'))
  )
}

/** What the machine refuses, such as a port that is taken, a folder that is not there, or a damaged ledger. */
function isSystemError(error: unknown): error is Error {
  if (error instanceof LedgerOpenError || error instanceof LedgerUnreachableError) return true
  if (error instanceof KeyRotationError) return true
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'
}

try {
  await main()
} catch (error) {
  // It said why already.
  if (error instanceof WorkerStartError) process.exit(error.exitCode)
  if (isUsageError(error)) process.stderr.write(`token-handler: ${error.message}\n\n${usageOf(process.argv[2])}`)
  else if (error instanceof ConfigError || error instanceof AggregateError) process.stderr.write(`${error.message}\n`)
  else if (isSystemError(error)) process.stderr.write(`token-handler: ${error.message}\n`)
  else throw error
  // At once: parts that were started already would keep the process alive.
  process.exit(isSystemError(error) ? 1 : 2)
}
