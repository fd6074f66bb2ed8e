/** `npm run killswitch`: how fast the end of a session reaches everything, and what it costs. See docs/sessions.md. */
import { startFleet } from './fleet.ts'
import { measureCost } from './measure-cost.ts'
import { measurePartition, measureRestart, type Faults } from './measure-faults.ts'
import { measureReach, type Reach } from './measure-reach.ts'
import { parseOptions, usage, type KillswitchOptions, type StoreKind } from './options.ts'
import { failuresOf, jsonReport, textReport, type Report } from './report.ts'

function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

async function measure(options: KillswitchOptions): Promise<Report> {
  const reach = new Map<StoreKind, Reach>()
  const restart = new Map<StoreKind, Faults>()
  let partition: Faults | undefined
  for (const store of options.stores) {
    const fleet = await startFleet(store)
    try {
      note(`${store}: how fast the end of a session reaches everything`)
      reach.set(store, await measureReach(fleet, options))
      note(`${store}: a replica is killed and comes back`)
      restart.set(store, await measureRestart(fleet))
      if (store === 'redis') {
        note('redis: replicas are cut off, and come back')
        partition = await measurePartition(fleet)
      }
    } finally {
      await fleet.close()
    }
  }
  if (options.rounds > 0) note(`what a request costs with ${options.held.join(', ')} rules`)
  const cost = options.rounds > 0 ? await measureCost(options) : []
  return { options, reach, restart, partition, cost }
}

async function main(args: readonly string[]): Promise<number> {
  let options: KillswitchOptions
  try {
    options = parseOptions(args)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
    return 2
  }
  const report = await measure(options)
  process.stdout.write(options.asJson ? `${JSON.stringify(jsonReport(report), null, 2)}\n` : textReport(report))
  return failuresOf(report).length === 0 ? 0 : 1
}

process.exit(await main(process.argv.slice(2)))
