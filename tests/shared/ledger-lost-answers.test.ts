import { describe, expect, it } from '@jest/globals'
import type { Unknown } from '../../shared/src/ledger/ledger.ts'
import { createMemoryDirectory } from '../../shared/src/ledger/memory-directory.ts'
import type { SessionRecord } from '../../shared/src/ledger/protocol.ts'
import { RuleSet } from '../../shared/src/ledger/rules.ts'
import { createLedger, stepContext, type LedgerStore } from '../../shared/src/ledger/store.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { beginSession } from './ledger-session.ts'

/** A store that does everything, and says nothing when its answers get lost. */
function lossyStore(clock: FakeClock): { store: LedgerStore; loseAnswers: (areLost: boolean) => void } {
  const sessions = new Map<string, SessionRecord>()
  const rules = new RuleSet(clock)
  let areLost = false
  const unknown: Unknown = { state: 'unknown' }
  return {
    loseAnswers(lost) {
      areLost = lost
    },
    store: {
      kind: 'lossy',
      ...createMemoryDirectory(rules, clock, () => sessions),
      async stepSession(sid, step) {
        const { answer, record } = step(sessions.get(sid), stepContext(clock.now(), 0, rules))
        if (record !== undefined) sessions.set(sid, record)
        return areLost ? unknown : answer
      },
      deleteSession: async () => undefined,
      putToken: async () => unknown,
      readToken: async () => unknown,
      deleteTokens: async () => undefined,
      stepLogin: async () => unknown,
      addRule: async () => unknown,
      close: async () => undefined,
    },
  }
}

describe('a ledger whose answers get lost', () => {
  it('gives a lease back that nobody was told of', async () => {
    const { store, loseAnswers } = lossyStore(fakeClock())
    const ledger = createLedger(store)
    const session = await beginSession(ledger)
    loseAnswers(true)
    expect(await session.ask(0)).toEqual({ state: 'unknown' })
    loseAnswers(false)
    expect(await session.ask(0)).toEqual({ state: 'held' })
    await until('it is given back', async () => {
      const asked = await session.ask(0)
      return asked.state === 'leased' && !asked.inDoubt
    })
  })

  it('takes a commit that is repeated', async () => {
    const { store, loseAnswers } = lossyStore(fakeClock())
    const session = await beginSession(createLedger(store))
    const { id } = await session.lease(0)
    loseAnswers(true)
    expect(await session.commit(0, id)).toEqual({ state: 'unknown' })
    loseAnswers(false)
    expect(await session.commit(0, id)).toEqual({ state: 'successors', blobs: ['blob 1'], generation: 1 })
    expect(await session.look(1)).toMatchObject({ state: 'current' })
  })
})
