/** A process with a ledger of its own that does what its parent says; started by ledger-processes.ts. */
import { openLedger, silentLogger, systemClock, type Ledger } from '@token-handler/shared'
import { sessionOf } from './ledger-session.ts'
import type { LedgerTask, RaceResult, TaskResult } from './ledger-processes.ts'

let ledger: Ledger

/**
 * Leases and commits one generation after the other, against every other process, until the session is at `until` or the
 * store cannot be asked for long.
 */
async function race({ identity, until }: LedgerTask<'race'>): Promise<RaceResult> {
  const session = sessionOf(identity, ledger)
  const committed: number[] = []
  const surprises: string[] = []
  let unknown = 0
  /** A store that was not reached is asked again, as everybody does. */
  async function persist<T extends { readonly state: string }>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      const answer = await ask()
      unknown = answer.state === 'unknown' ? unknown + 1 : 0
      if (unknown === 0 || unknown >= 3) return answer
    }
  }
  for (let generation = 0; generation < until && unknown < 3;) {
    const spent = generation
    const judgement = await persist(() => session.ask(spent))
    if (judgement.state === 'leased') {
      const { state } = await persist(() => session.commit(spent, judgement.lease))
      if (state === 'committed') committed.push(spent)
      else surprises.push(state)
    } else if (judgement.state === 'successors') ({ generation } = judgement)
    // Too far behind for the parked chain, which this test is not about.
    else if (judgement.state === 'superseded') generation += 1
    else if (judgement.state !== 'held') surprises.push(judgement.state)
  }
  return { committed, surprises }
}

/** Tells when a rule about the session arrives. */
function watch({ identity }: LedgerTask<'watch'>): Promise<number> {
  const arrived = new Promise<number>((resolve) => {
    const stop = ledger.rules.onRule((isOver) => {
      if (!isOver(identity)) return
      stop()
      resolve(Date.now())
    })
  })
  process.send?.({ event: 'watching' })
  return arrived
}

async function run(task: LedgerTask): Promise<TaskResult> {
  if (task.task === 'race') return race(task)
  if (task.task === 'watch') return watch(task)
  const deps = { clock: systemClock, logger: silentLogger, folder: '/' }
  ledger = await openLedger(task.config, deps)
  return undefined
}

process.on('message', (task: LedgerTask) => {
  void run(task).then((result) => process.send?.({ event: 'done', result }))
})
process.on('disconnect', () => process.exit())
