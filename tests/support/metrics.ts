/** Series of a scrape by name and labels as Prometheus writes them, such as `up{job="a"}`. */
export type Series = ReadonlyMap<string, number>

const line = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/

/** Reads the text format of Prometheus. @throws Error at a line that is none of it. */
export function parseMetrics(text: string): Series {
  const series = new Map<string, number>()
  for (const one of text.split('\n')) {
    if (one === '' || one.startsWith('# ')) continue
    const [, name, value] = line.exec(one) ?? []
    if (name === undefined || value === undefined) throw new Error(`no sample: ${one}`)
    if (series.has(name)) throw new Error(`twice: ${name}`)
    series.set(name, Number(value.replace('Inf', 'Infinity')))
  }
  return series
}

/** What is exposed: name and type of every metric. */
export function metricTypes(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]))
}

/** Names of the labels that the series of a metric have, `le` of histograms left out. */
export function labelNames(series: Series, metric: string): string[] {
  const names = new Set<string>()
  for (const name of series.keys()) {
    const [, base = '', labels = ''] = /^([^{]+)(?:\{(.*)\})?$/.exec(name) ?? []
    if (base.replace(/_(?:bucket|sum|count)$/, '') !== metric && base !== metric) continue
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) if (label !== 'le') names.add(label)
  }
  return [...names].toSorted()
}
