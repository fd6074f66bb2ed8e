import type { MetricsSnapshot, Registry } from '@token-handler/shared'

/** The metrics that the operations page is made of; reading them changes none, unlike a scrape. */
export const figureMetrics = [
  'token_handler_logins_total',
  'token_handler_refresh_steps_total',
  'token_handler_agent_requests_total',
  'token_handler_proxy_requests_total',
  'token_handler_proxy_open_streams',
] as const

/** What one process counted since its start, and how many streams are open there. */
export interface Figures {
  readonly logins: number
  readonly refreshes: number
  readonly requests: number
  readonly refusals: ReadonlyMap<string, number>
  readonly openStreams: number
}

/** Figures by process. */
export type FiguresByProcess = ReadonlyMap<string, Figures>

/** @returns The few metrics of {@link figureMetrics}, of those that the process has. */
export async function readFigureMetrics(registry: Registry): Promise<MetricsSnapshot> {
  const metrics = figureMetrics.map((name) => registry.getSingleMetric(name)).filter((metric) => metric !== undefined)
  return Promise.all(metrics.map((metric) => metric.get()))
}

/** Outcomes that are no refusals: the API's own answers, and who went away. */
const isNoRefusal = /^(?:ok|[1-5]xx|preflight|client_gone)$/

export function figuresOf(snapshot: MetricsSnapshot): Figures {
  const series = (name: (typeof figureMetrics)[number]): { labels: Record<string, unknown>; value: number }[] => {
    const metric = snapshot.find((candidate) => candidate.name === name)
    return metric?.values ?? []
  }
  const sum = (values: readonly { value: number }[]): number => values.reduce((total, { value }) => total + value, 0)
  const proxyRequests = series('token_handler_proxy_requests_total')
  const refusals = new Map<string, number>()
  for (const { labels, value } of [...series('token_handler_agent_requests_total'), ...proxyRequests]) {
    const reason = String(labels['outcome'])
    if (value > 0 && !isNoRefusal.test(reason)) refusals.set(reason, (refusals.get(reason) ?? 0) + value)
  }
  return {
    logins: sum(series('token_handler_logins_total')),
    refreshes: sum(series('token_handler_refresh_steps_total').filter(({ labels }) => labels['step'] === 'committed')),
    requests: sum(proxyRequests),
    refusals,
    openStreams: sum(series('token_handler_proxy_open_streams')),
  }
}
