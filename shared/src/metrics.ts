import { AggregatorRegistry, Counter, Gauge, type Registry } from 'prom-client'

/**
 * Metrics for Prometheus. Every app has a registry of its own, so that two apps in one process keep apart. Label values
 * come from the configuration and from closed lists, never from what a client sends. docs/metrics.md lists all metrics.
 */
export { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** One series: its labels, and its number. */
export type Sample<Label extends string> = readonly [labels: Readonly<Record<Label, string>>, value: number]

/** A metric whose numbers are kept somewhere else, and read when somebody asks. */
export interface ReadMetric<Label extends string> {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly Label[]
  /** What it is now; nothing where it is not known. */
  readonly read: () => Iterable<Sample<Label>>
}

/** A counter that costs an addition where it counts: the hot path calls no library. */
export function exposeCounter<Label extends string = never>(registry: Registry, metric: ReadMetric<Label>): void {
  const { name, help, labelNames = [], read } = metric
  void new Counter<Label>({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      for (const [labels, value] of read()) this.inc(labels as Record<Label, string>, value)
    },
  })
}

/** A gauge that is read when somebody asks. */
export function exposeGauge<Label extends string = never>(registry: Registry, metric: ReadMetric<Label>): void {
  const { name, help, labelNames = [], read } = metric
  void new Gauge<Label>({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      // A gauge without labels begins at zero, even where nothing is known.
      if (labelNames.length === 0) this.remove()
      for (const [labels, value] of read()) this.set(labels as Record<Label, string>, value)
    },
  })
}

/** The metrics of one process as they travel to another. */
export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/**
 * Puts the metrics of several processes into one text. Each series gets the label `worker`: a sum would fall when a process
 * is replaced, and Prometheus takes a counter that falls for one that began anew.
 */
export function mergeSnapshots(snapshots: ReadonlyMap<string, MetricsSnapshot>): Promise<string> {
  const labelled = [...snapshots].map(([worker, metrics]) =>
    metrics.map((metric) => ({
      ...metric,
      values: metric.values.map((value) => ({ ...value, labels: { worker, ...value.labels } })),
    })),
  )
  return AggregatorRegistry.aggregate(labelled).metrics()
}
