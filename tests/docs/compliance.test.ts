import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'

const tests = fileURLToPath(new URL('..', import.meta.url))
const rules = parse(readFileSync(join(tests, '../docs/compliance.yaml'), 'utf8'), { uniqueKeys: true }) as Record<
  string,
  unknown
>

/** The ids at the start of test titles, and of the rows that a title takes its id from, in one file. */
function idsIn(file: string): string[] {
  const text = readFileSync(join(tests, file), 'utf8')
  const titles = [...text.matchAll(/['"`]((?:\[(?:[A-H]-(?:[A-Z]+-)?\d+|%s)\] ?)+)/g)].map(([, ids = '']) => ids)
  const rows = titles.some((title) => title.includes('[%s]'))
    ? [...text.matchAll(/\['([A-H]-(?:[A-Z]+-)?\d+)', /g)].map(([, id = '']) => id)
    : []
  return [...titles, ...rows].flatMap((ids) => ids.match(/[A-H]-[A-Z\d-]+/g) ?? [])
}

const named = new Set(
  readdirSync(tests, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap(idsIn),
)

describe('docs/compliance.yaml', () => {
  it('has every rule that a test names', () => {
    expect([...named].filter((id) => !(id in rules)).toSorted()).toEqual([])
  })

  it('has no rule that no test names', () => {
    expect(Object.keys(rules).filter((id) => !named.has(id))).toEqual([])
  })

  it('says each rule in one line', () => {
    const lines = Object.entries(rules).map(([id, text]) => ({ id, text: String(text) }))
    expect(lines.filter(({ text }) => text.length < 15 || text.length > 120 || !/^\S.*\.$/.test(text))).toEqual([])
    expect(new Set(lines.map(({ text }) => text)).size).toBe(lines.length)
  })
})
