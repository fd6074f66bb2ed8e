/** Prints where a CPU profile (`--cpu-profile`) spent its time: `node tests/bench/profile.ts FILE`. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const shown = 45
const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as CpuProfile
const self = new Map<number, number>()
samples.forEach((id, index) => self.set(id, (self.get(id) ?? 0) + (timeDeltas[index] ?? 0)))
const byId = new Map(nodes.map((node) => [node.id, node]))

/** Time in a function and in all that it calls, counted once where it calls itself. */
const inclusive = new Map<string, number>()
const own = new Map<string, number>()

function visit(id: number, path: ReadonlySet<string>): number {
  const node = byId.get(id)
  if (node === undefined) return 0
  const name = nameOf(node.callFrame)
  const deeper = new Set([...path, name])
  const ownTime = self.get(id) ?? 0
  const total = (node.children ?? []).reduce((sum, child) => sum + visit(child, deeper), ownTime)
  own.set(name, (own.get(name) ?? 0) + ownTime)
  if (!path.has(name)) inclusive.set(name, (inclusive.get(name) ?? 0) + total)
  return total
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  return `${functionName || '(anonymous)'} ${basename(url)}:${lineNumber + 1}`
}

visit(nodes[0]?.id ?? 0, new Set())
const idle = own.get('(idle) :0') ?? 0
const busy = [...own.values()].reduce((sum, time) => sum + time, 0) - idle
for (const [title, times] of [
  ['self', own],
  ['with callees', inclusive],
] as const) {
  console.log(`\n${title}, share of busy time`)
  const top = [...times].filter(([name]) => !name.startsWith('(idle)')).toSorted(([, a], [, b]) => b - a)
  for (const [name, time] of top.slice(0, shown))
    console.log(`${((time / busy) * 100).toFixed(1).padStart(6)} %  ${name}`)
}
