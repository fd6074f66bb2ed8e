/**
 * `npm run torture`: agents, their store, the authorization server and browsers, all broken again and again, and an oracle
 * that holds what happened against what is promised. See docs/torture.md.
 */
import { parseOptions, usage, type TortureOptions } from './options.ts'
import { hasProgram } from './store.ts'
import { torture } from './torture.ts'

function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

let options: TortureOptions | undefined
try {
  options = parseOptions(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
  process.exitCode = 2
}
if (options?.store === 'redis' && !hasProgram('redis-server')) {
  note('This needs redis-server. Install it, on Debian with: sudo apt-get install redis-server')
  process.exitCode = 2
} else if (options !== undefined) {
  note(`seed ${options.seed}`)
  const { text, failed } = await torture(options, note)
  process.stdout.write(text)
  process.exitCode = failed === 0 ? 0 : 1
}
