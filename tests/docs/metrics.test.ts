import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { callAt, install, logInAt, type Installation } from '../integration/installation.ts'
import { labelNames, metricTypes, parseMetrics } from '../support/metrics.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** The rows of the document's tables. */
const documented = [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \|((?: `\w+`)*) \| (\S.{5,}) \|$/gm)].map(
  ([, name = '', type = '', labels = '']) => ({ name, type, labels: [...labels.matchAll(/\w+/g)].map(String) }),
)

describe('docs/metrics.md', () => {
  let installation: Installation
  let scrape: Response
  let text: string
  beforeAll(async () => {
    installation = await install()
    installation.configure('token-handler.yaml', { admin: { port: 0 } })
    const { url, adminUrl } = await installation.start()
    const jar = await logInAt(url)
    await callAt(url, '/oauth-agent/refresh', jar, 'POST')
    await callAt(url, '/api/me', jar)
    await callAt(url, '/oauth-agent/logout', jar, 'POST')
    scrape = await fetch(`${adminUrl}/metrics`)
    text = await scrape.text()
  }, 60_000)
  afterAll(() => installation.close())

  it('says where they are', () => {
    expect([scrape.status, scrape.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ])
  })

  it('has a row for every metric with its type, and for no other', () => {
    const rows = documented
      .map(({ name, type }) => `${name} ${type}`)
      .filter((row) => !row.startsWith('token_handler_worker_up'))
    expect(rows.toSorted()).toEqual([...metricTypes(text)].map(([name, type]) => `${name} ${type}`).toSorted())
  })

  it('names the labels', () => {
    const series = parseMetrics(text)
    const seen = documented.map(({ name }) => ({ name, labels: labelNames(series, name) }))
    const withLabels = seen.filter(({ labels }) => labels.length > 0)
    expect(withLabels.length).toBeGreaterThan(8)
    for (const { name, labels } of withLabels) {
      expect({ name, labels }).toEqual({
        name,
        labels: documented.find((row) => row.name === name)?.labels.toSorted(),
      })
    }
  })

  it('has a help text for every metric', () => {
    expect(text.match(/^# HELP \S+ [A-Z0-9].*\.$/gm)?.length).toBe(metricTypes(text).size)
  })

  it('names the key that seals, the version, and the time since the start', () => {
    const series = parseMetrics(text)
    const { version } = JSON.parse(read('cli/package.json')) as { version: string }
    expect(series.get(`token_handler_build_info{version="${version}",node="${process.versions.node}"}`)).toBe(1)
    const [key] = [...series.keys()].filter((name) => name.startsWith('token_handler_key_active'))
    expect(series.get(key ?? '')).toBe(1)
    const age = Date.now() / 1000 - (series.get((key ?? '').replace('active', 'created_timestamp_seconds')) ?? 0)
    expect(Math.abs(age)).toBeLessThan(300)
  })
})

describe('deploy/prometheus/token-handler.rules.yml', () => {
  const rules = (
    parse(read('deploy/prometheus/token-handler.rules.yml')) as {
      groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[]
    }
  ).groups.flatMap((group) => group.rules)

  it('asks only for metrics that there are, by labels that they have', () => {
    const known = new Map(documented.map(({ name, labels }) => [name, labels]))
    for (const { alert, expr } of rules) {
      const used = [...expr.matchAll(/\b(token_handler_\w+)(?:\{([^}]*)\})?/g)]
      expect({ alert, count: used.length }).not.toEqual({ alert, count: 0 })
      for (const [, name = '', matchers = ''] of used) {
        expect({ alert, name, isKnown: known.has(name) }).toEqual({ alert, name, isKnown: true })
        for (const [, label = ''] of matchers.matchAll(/(\w+)(?:=|!)/g)) expect(known.get(name)).toContain(label)
      }
    }
  })

  it('says in one sentence or two what each alert means', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    for (const { annotations } of rules) expect(annotations.summary).toMatch(/^[A-Z].{20,}\.$/)
  })
})
