import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { errorCatalogue } from '@token-handler/shared'

const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const sections = text
  .split(/^### /m)
  .slice(1)
  .map((section) => {
    const [heading = '', ...lines] = section.split('\n')
    const [, code = heading, status = ''] = /^`([a-z_]+)` \((\d{3})\)$/.exec(heading) ?? []
    return { code, status: Number(status), body: lines.join('\n') }
  })

describe('docs/errors.md', () => {
  it('has a section for every code, with its status, and for no other', () => {
    const documented = sections.map(({ code, status }) => `${code} ${status}`)
    const existing = Object.entries(errorCatalogue).map(([code, { status }]) => `${code} ${status}`)
    expect(documented.toSorted()).toEqual(existing.toSorted())
  })

  it('says of every code what it means, and what SPA and operator do', () => {
    for (const { body } of sections) {
      expect(body).toMatch(/^\n[^-\n].{10,}/)
      expect(body.match(/^- (?:SPA|Operator): \S.{5,}/gm)?.map((line) => line.slice(2, line.indexOf(':')))).toEqual([
        'SPA',
        'Operator',
      ])
    }
  })

  it('names no code that does not exist', () => {
    const named = [...text.matchAll(/\b([45]\d\d) `([a-z_]+)`/g)].map(([, status, code = '']) => [code, Number(status)])
    expect(named.length).toBeGreaterThan(0)
    for (const [code, status] of named) expect(errorCatalogue[code as keyof typeof errorCatalogue]?.status).toBe(status)
  })
})
