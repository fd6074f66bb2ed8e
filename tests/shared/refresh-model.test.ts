import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { brokenProtocols } from './refresh-model/broken.ts'
import { play } from './refresh-model/play.ts'
import { realProtocol } from './refresh-model/protocol.ts'
import type { Budget, WorldOptions } from './refresh-model/types.ts'

const calm: Budget = {
  refreshes: 10,
  looks: 0,
  logouts: 0,
  thefts: 0,
  deaths: 0,
  lostAnswers: 0,
  lostResponses: 0,
  pauses: 0,
  rollbacks: 0,
  partitions: 0,
  losses: 0,
  notReached: 0,
}
const faults = Object.keys(calm).filter((name) => name !== 'refreshes') as (keyof Budget)[]

/** Up to three kinds of trouble at once: with more of them, every loss has an excuse. */
const budgets: fc.Arbitrary<Budget> = fc
  .tuple(fc.integer({ min: 1, max: 10 }), fc.array(fc.constantFrom(...faults), { maxLength: 3 }))
  .map(([refreshes, kinds]) => ({ ...calm, refreshes, ...Object.fromEntries(kinds.map((kind) => [kind, 2])) }))

const options: fc.Arbitrary<WorldOptions> = fc.record({
  rotation: fc.constantFrom('strict', 'grace', 'static'),
  budget: budgets,
  salt: fc.integer({ min: 1, max: 4 }),
})
const choices = fc.array(fc.nat({ max: 1_000_000 }), { minLength: 10, maxLength: 150, size: 'max' })

/** What thousands of histories must have shown among them. */
const everything =
  'acknowledged|adopted|death|doubt|ended|in doubt|logout|loss|pause|replay|rollback|sent again in doubt|superseded|uncommitted'.split(
    '|',
  )
const finding = new RegExp(
  [
    'a refresh token was sent twice without a doubt',
    'a session was lost',
    'a session went on after its end',
    'a refresh token outlived the session',
    'after the end',
    'cookies for a generation whose successor was acknowledged',
    'two commits of one generation',
    'the generation fell',
    'a refusal ended what had gone on',
    'a request never ends',
  ].join('|'),
)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_000)
const runs = Number(process.env['RUNS'] ?? 10_000)

describe('the refresh protocol, with everything that may go wrong', () => {
  it(`keeps invariants I1 to I7 in every history (SEED=${seed} RUNS=${runs})`, () => {
    const seen = new Set<string>()
    const property = fc.property(options, choices, (given, picks) => {
      for (const what of play(given, picks).seen) seen.add(what)
    })
    fc.assert(property, { seed, numRuns: runs })
    expect([...seen].toSorted()).toEqual(everything)
  })

  // A fixed seed: these find out about the model, not about the protocol.
  it.each(Object.entries(brokenProtocols))('finds what goes wrong without %s', (_, { broken, needs, rotation }) => {
    const given = {
      protocol: { ...realProtocol, ...broken },
      budget: { ...calm, ...needs },
      rotation: rotation ?? 'strict',
    }
    const property = fc.property(
      fc.integer({ min: 1, max: 4 }),
      choices,
      (salt, picks) => void play({ ...given, salt }, picks),
    )
    const { failed, errorInstance } = fc.check(property, { seed: 1, numRuns: 30_000, endOnFailure: true })
    expect(failed).toBe(true)
    // A finding, not an error of the model itself.
    expect(String(errorInstance)).toMatch(finding)
  })
})
