import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { auditEvents } from '@token-handler/shared'
import { auditSchemaText, withEvents } from '../../tools/docs/audit.ts'

const read = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
const rewrite = 'node --conditions=token-handler-source tools/docs/audit.ts'

describe('docs/audit.md and docs/audit.schema.json', () => {
  it(`are what the source gives (${rewrite})`, () => {
    expect(JSON.parse(read('audit.schema.json'))).toEqual(JSON.parse(auditSchemaText()))
    expect(withEvents(read('audit.md'))).toBe(read('audit.md'))
  })

  it('have no event that no test looks for', () => {
    const tests = new URL('../', import.meta.url)
    const text = readdirSync(tests, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => readFileSync(new URL(name, tests), 'utf8'))
      .join('\n')
    const unseen = Object.keys(auditEvents).filter((name) => !new RegExp(`['"]${name}(?: [a-z]+)?['"]`).test(text))
    expect(unseen).toEqual([])
  })

  it('name only commands and files of the log that exist', () => {
    const usage = readFileSync(new URL('../../cli/src/main.ts', import.meta.url), 'utf8')
    for (const page of ['audit.md', 'incident-runbook.md']) {
      const commands = [...read(page).matchAll(/token-handler ((?:audit|keys|revoke|sessions)(?: [a-z]+)?)/g)]
      expect(commands.length).toBeGreaterThan(3)
      for (const [, command = ''] of commands) expect(usage).toContain(`token-handler ${command}`)
    }
  })
})
