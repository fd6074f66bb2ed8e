/** A process with a ledger of its own that does what its parent says; started by ledger-processes.ts. */
import { openLedger, silentLogger, systemClock, type Ledger } from '@token-handler/shared'
import { sessionOf } from './ledger-session.ts'
import type { LedgerTask, RaceResult, TaskResult } from './ledger-processes.ts'

let ledger: Ledger

/** Leases and commits one generation after the other, against every other process, until the session is at `until`. */
async function race({ identity, until }: LedgerTask<'race'>): Promise<RaceResult> {
  const session = sessionOf(identity, ledger)
  const committed: number[] = []
  const surprises: string[] = []
  for (let generation = 0; generation < until;) {
    const judgement = await session.ask(generation)
    if (judgement.state === 'leased') {
      const { state } = await session.commit(generation, judgement.lease)
      if (state === 'committed') committed.push(generation)
      else surprises.push(`commit: ${state}`)
    } else if (judgement.state === 'successors') generation = judgement.generation
    // Too far behind for the parked chain, which this test is not about.
    else if (judgement.state === 'superseded') generation += 1
    else if (judgement.state !== 'held') surprises.push(`ask: ${judgement.state}`)
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
  process.send?.({ watching: true })
  return arrived
}

async function run(task: LedgerTask): Promise<TaskResult> {
  if (task.task === 'race') return race(task)
  if (task.task === 'watch') return watch(task)
  const deps = { clock: systemClock, logger: silentLogger, folder: '/' }
  ledger = await openLedger({ ledger: task.ledger, session: task.session }, deps)
  return undefined
}

process.on('message', (task: LedgerTask) => {
  void run(task).then((result) => process.send?.({ result }))
})
