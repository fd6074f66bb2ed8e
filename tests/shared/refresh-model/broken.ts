import type { SessionRecord } from '../../../shared/src/ledger/protocol.ts'
import type { Rotation } from './authorization-server.ts'
import { realProtocol, type Protocol } from './protocol.ts'
import type { Budget } from './types.ts'

const { show, commit, release, refuse } = realProtocol

/**
 * The protocol with one rule left out, by what is left out. The model has to find each of them, or it would prove nothing.
 */
export interface BrokenProtocol {
  readonly broken: Partial<Protocol>
  /** What has to happen for it to show, besides refreshes. */
  readonly needs: Partial<Budget>
  readonly rotation?: Rotation
}

export const brokenProtocols: Readonly<Record<string, BrokenProtocol>> = {
  'row 4: only the holder of the lease may commit': {
    needs: { pauses: 1 },
    broken: {
      commit: (known, given, context) =>
        known !== undefined && known.generation === given.generation && known.lease?.id !== given.lease
          ? { answer: { state: 'superseded' } }
          : commit(known, given, context),
    },
  },
  'row 4: a success that cannot be committed is kept from the browser': {
    needs: { partitions: 1 },
    broken: { sendsUncommitted: false },
  },
  'row 4: a commit takes its cookies for seen': {
    needs: { lostResponses: 1 },
    broken: {
      commit(known, given, context) {
        const { answer, record } = commit(known, given, context)
        return record === undefined
          ? { answer }
          : { answer, record: { ...record, parked: [], acknowledged: record.generation } }
      },
    },
  },
  'row 5: a release forgets the doubt': {
    needs: { lostAnswers: 1, notReached: 1 },
    broken: {
      release(known, lease) {
        const { answer, record } = release(known, lease)
        return record === undefined ? { answer } : { answer, record: { ...record, doubt: undefined, adopted: false } }
      },
    },
  },
  'row 6: a lease that is over is forgotten': {
    needs: { deaths: 1 },
    broken: {
      show: (known, given, lease, context) => show(withoutDeadLease(known, context.now), given, lease, context),
    },
  },
  'row 7: nobody looks again before sending': { needs: { pauses: 1 }, broken: { looksAgain: false } },
  'row 8: a refusal ends the session, whoever has gone on': {
    needs: { pauses: 2 },
    broken: {
      refuse: (known, { sid, generation }, context) =>
        refuse(
          known === undefined ? undefined : { ...known, generation },
          { sid, generation, lease: known?.lease?.id ?? '' },
          context,
        ),
    },
  },
  'row 9: a generation is acknowledged at first sight': {
    needs: { rollbacks: 1, looks: 1 },
    broken: {
      show: (known, given, lease, context) =>
        show(
          known !== undefined && known.generation === given.generation ? { ...known, givenAt: 0 } : known,
          given,
          lease,
          context,
        ),
    },
  },
  'row 9: a request counts from when it is judged, not from when it came': {
    needs: { rollbacks: 1, looks: 1, pauses: 1 },
    broken: {
      show: (known, given, lease, context) => show(known, { ...given, ageMs: () => 0 }, lease, context),
    },
  },
  'row 9: nothing is ever acknowledged': {
    needs: { thefts: 2, looks: 2 },
    broken: {
      show: (known, given, lease, context) =>
        show(known === undefined ? undefined : { ...known, givenAt: context.now }, given, lease, context),
    },
  },
  'row 10: only the newest generation is parked': {
    needs: { rollbacks: 1 },
    broken: {
      commit(known, given, context) {
        const { answer, record } = commit(known, given, context)
        return record === undefined ? { answer } : { answer, record: { ...record, parked: record.parked.slice(-1) } }
      },
    },
  },
  'row 11: replaced cookies are cleared': { needs: { pauses: 1, looks: 2 }, broken: { sparesCookies: false } },
  'row 12: the store is believed, not the cookie': {
    needs: { partitions: 1, deaths: 1 },
    broken: {
      show: (known, given, lease, context) =>
        known !== undefined && given.generation > known.generation
          ? { answer: { state: 'superseded' } }
          : show(known, given, lease, context),
    },
  },
  'row 12: a late commit parks nothing': {
    needs: { partitions: 1, rollbacks: 1, looks: 1 },
    broken: {
      commit: (known, given, context) =>
        commit(
          known !== undefined && known.generation > given.generation
            ? { ...known, acknowledged: Math.max(known.acknowledged, given.generation + 1) }
            : known,
          given,
          context,
        ),
    },
  },
  'row 13: an end is forgotten': {
    needs: { logouts: 1 },
    broken: {
      end(known, given, now) {
        const { answer } = realProtocol.end(known, given, now)
        return { answer }
      },
    },
  },
  'row 13: a success that finds the session ended is kept': {
    needs: { logouts: 1 },
    broken: { revokesLateSuccess: false },
  },
  'row 13: an end does not hand out what was parked': {
    needs: { logouts: 1 },
    broken: {
      end(known, { sid, reason, keepSeconds, withRule }, now) {
        return realProtocol.end(known, { sid, reason, keepSeconds, withRule }, now)
      },
    },
  },
  'row 15: a session is taken over in spite of its rule': {
    needs: { logouts: 1, losses: 1 },
    broken: {
      show: (known, given, lease, context) =>
        show(known, given, lease, known === undefined ? { ...context, endOf: () => undefined } : context),
    },
  },
}

function withoutDeadLease(known: SessionRecord | undefined, now: number): SessionRecord | undefined {
  return known?.lease !== undefined && known.lease.until <= now ? { ...known, lease: undefined } : known
}
