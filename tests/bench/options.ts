import { parseArgs } from 'node:util'
import { keys, type Key } from './figures.ts'

export interface BenchOptions {
  readonly asJson: boolean
  /** A smoke run: everything is started and measured once, too shortly for the figures to mean anything. */
  readonly isQuick: boolean
  readonly only: readonly Key[]
  readonly rounds: number
  /** Times that all contenders start anew; the rounds are spread over them. */
  readonly starts: number
  /** Seconds of load in one round of one contender. */
  readonly seconds: number
  readonly connections: number
  /** Measure how the cost grows instead of the figures. */
  readonly showsGrowth: boolean
  readonly profileFolder: string | undefined
}

export const usage = `npm run bench -- [options]

  --json               one JSON object on standard output, nothing else
  --quick              smoke run, whose figures mean nothing
  --only KEY           only this figure; may be repeated. One of:
                       ${keys.join(' ').replace(/(.{60,}?) /g, '$1\n                       ')}
  --rounds N           rounds (9)
  --starts N           times that all contenders start anew during the rounds (3)
  --seconds S          load of each contender in each round (2)
  --connections N      connections of the load generator (32)
  --growth             instead: how the cost grows with tokens, routes, sessions and connections
  --cpu-profile DIR    write CPU profiles of the contenders on Node there
`

/** @throws TypeError saying what is wrong with the arguments. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      starts: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string', default: '32' },
      growth: { type: 'boolean', default: false },
      'cpu-profile': { type: 'string' },
    },
  })
  const rounds = positive('rounds', values.rounds ?? (values.quick ? '1' : '9'))
  return {
    asJson: values.json,
    isQuick: values.quick,
    only: values.only.length === 0 ? keys : values.only.map(parseKey),
    rounds,
    starts: Math.min(rounds, positive('starts', values.starts ?? (values.quick ? '1' : '3'))),
    seconds: positive('seconds', values.seconds ?? (values.quick ? '0.1' : '2')),
    connections: positive('connections', values.connections),
    showsGrowth: values.growth,
    profileFolder: values['cpu-profile'],
  }
}

function parseKey(text: string): Key {
  const key = keys.find((known) => known === text)
  if (key === undefined) throw new TypeError(`there is no figure "${text}"`)
  return key
}

function positive(name: string, text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new TypeError(`--${name} takes a positive number`)
  return number
}
