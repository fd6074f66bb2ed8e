import { isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml'
import type { ConfigProblem } from './load.ts'
import type { LineOf } from './references.ts'

/** One mistake makes the rest of the file unreadable as often as not; more than these would only hide it. */
const mostProblems = 3

/**
 * Reads YAML that is plain data: no aliases (they can stand for billions of values), no keys that are not text, and no
 * key named `__proto__`.
 * @param problems Gets what is wrong, by line. There are no values then.
 */
export function parseYaml(
  text: string,
  problems: ConfigProblem[],
): { readonly values: unknown; readonly lineOf: LineOf } {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { prettyErrors: false, lineCounter, uniqueKeys: true })
  const lines = new Map<number, string>()
  const report = (offset: number, message: string): void => {
    const { line, col } = lineCounter.linePos(offset)
    if (!lines.has(line)) lines.set(line, `line ${line}, column ${col}: ${message}`)
  }
  for (const { code, pos } of [...document.errors, ...document.warnings]) {
    const isVariable = text.startsWith('${', pos[0] - 1)
    report(pos[0], `not valid YAML (${code})${isVariable ? ': within { } and [ ], ${…} wants quotes around it' : ''}`)
  }
  visit(document, {
    Alias: (_, { range }) => report(range?.[0] ?? 0, 'aliases are not understood'),
    Pair: (_, { key }) => {
      if (isScalar(key) && typeof key.value === 'string' && key.value !== '__proto__') return
      report(isScalar(key) ? (key.range?.[0] ?? 0) : 0, 'a key must be text, and not __proto__')
    },
  })
  problems.push(...[...lines.values()].slice(0, mostProblems).map((message) => ({ path: '', message })))
  const lineOf: LineOf = (path) => {
    let node: unknown = document.contents
    let offset: number | undefined
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => isScalar(key) && key.value === step)
        offset = isScalar(pair?.key) ? pair.key.range?.[0] : undefined
        node = pair?.value
      } else node = isSeq(node) ? node.items[Number(step)] : undefined
    }
    return offset === undefined ? undefined : lineCounter.linePos(offset).line
  }
  return { values: problems.length > 0 ? undefined : document.toJS({ maxAliasCount: 0 }), lineOf }
}
