import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { auditEvents, auditRecordSchema } from '@token-handler/shared'
import { z } from 'zod'

/** What docs/audit.schema.json holds. */
export function auditSchemaText(): string {
  return `${JSON.stringify(z.toJSONSchema(auditRecordSchema), null, 2)}\n`
}

/** docs/audit.md with a row for every event. */
export function withEvents(page: string): string {
  const rows = Object.entries(auditEvents).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`)
  return page.replace(
    /(\| event \| what happened \|\n\| --- \| --- \|\n)(?:<!-- events -->\n|(?:\|.*\n)*)/,
    (_all, head: string) => `${head}${rows.join('\n')}\n`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = (name: string): URL => new URL(`../../docs/${name}`, import.meta.url)
  writeFileSync(file('audit.schema.json'), auditSchemaText())
  writeFileSync(file('audit.md'), withEvents(readFileSync(file('audit.md'), 'utf8')))
}
