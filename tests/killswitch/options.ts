import { parseArgs } from 'node:util'

export type StoreKind = 'sqlite' | 'redis'

export interface KillswitchOptions {
  readonly asJson: boolean
  readonly stores: readonly StoreKind[]
  readonly replicas: number
  /** Open streams at each replica. */
  readonly streams: number
  /** Rules that are measured one after another. */
  readonly rules: number
  /** How many rules replicas hold when the cost of a request is measured. */
  readonly held: readonly number[]
  /** Rounds of load for each of them. */
  readonly rounds: number
}

export const usage = `npm run killswitch -- [options]

  --json         one JSON object on standard output, nothing else
  --quick        smoke run, whose figures mean nothing
  --store KIND   only sqlite, or only redis
  --streams N    open streams at each of three replicas (1000)
  --rules N      rules that are measured (50)
  --rounds N     rounds of load with 0, 10,000 and 1,000,000 rules held; 0 leaves it out (9)
`

/** @throws TypeError saying what is wrong with the arguments. */
export function parseOptions(args: readonly string[]): KillswitchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      store: { type: 'string' },
      streams: { type: 'string' },
      rules: { type: 'string' },
      rounds: { type: 'string' },
    },
  })
  const { quick, store } = values
  if (store !== undefined && store !== 'sqlite' && store !== 'redis')
    throw new TypeError('--store takes sqlite or redis')
  return {
    asJson: values.json,
    stores: store === undefined ? ['sqlite', 'redis'] : [store],
    replicas: 3,
    streams: count('streams', values.streams ?? (quick ? '10' : '1000'), 1),
    rules: count('rules', values.rules ?? (quick ? '2' : '50'), 1),
    held: quick ? [0, 100] : [0, 10_000, 1_000_000],
    rounds: count('rounds', values.rounds ?? (quick ? '1' : '9'), 0),
  }
}

function count(name: string, text: string, least: number): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < least) throw new TypeError(`--${name} takes a number from ${least}`)
  return number
}
