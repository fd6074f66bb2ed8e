/** A command line that is not understood; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The options of the command line, as given; each command checks those that it uses. */
export interface CommandLine {
  /** What follows the command's name. */
  readonly args: readonly string[]
  readonly config: string
  readonly only?: string | undefined
  readonly workers?: string | undefined
  readonly out?: string | undefined
  readonly file?: string | undefined
  readonly purpose?: string | undefined
  readonly sub?: string | undefined
  readonly sid?: string | undefined
  readonly 'as-sid'?: string | undefined
  readonly client?: string | undefined
  readonly kid?: string | undefined
  readonly all?: boolean | undefined
  readonly issuer?: string | undefined
  readonly before?: string | undefined
  readonly reason?: string | undefined
  readonly 'dry-run'?: boolean | undefined
  readonly json?: boolean | undefined
  readonly from?: string | undefined
  readonly force?: boolean | undefined
  readonly head?: readonly string[] | undefined
  readonly stopped?: boolean | undefined
}

export function parseOnly(only: string | undefined): 'agent' | 'proxy' | undefined {
  if (only === undefined || only === 'agent' || only === 'proxy') return only
  throw new UsageError('--only takes agent or proxy')
}
