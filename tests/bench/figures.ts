import type { ContenderName } from './contenders/contender.ts'
import type { Traffic } from './traffic.ts'

/** One contender under one kind of traffic. */
export interface Cell {
  readonly contender: ContenderName
  readonly traffic: TrafficName
}

export type TrafficName = 'others' | 'same' | 'large' | 'many_routes' | 'own_cookies'
export type CellName = `${ContenderName}/${TrafficName}`

/** More sessions than any cache holds, taken in turn: no request finds what the last one of its session left. */
const manySessions = 20_000

const traffics: Readonly<Record<TrafficName, Omit<Traffic, 'name'>>> = {
  others: { sessions: manySessions, tokenBytes: 900, routes: 10 },
  same: { sessions: 1, tokenBytes: 900, routes: 10 },
  large: { sessions: manySessions, tokenBytes: 3500, routes: 10 },
  many_routes: { sessions: manySessions, tokenBytes: 900, routes: 1000 },
  own_cookies: { sessions: 0, tokenBytes: 900, routes: 10 },
}

export function trafficOf(name: TrafficName, { isQuick }: { isQuick: boolean }): Traffic {
  const traffic = traffics[name]
  return { ...traffic, name, sessions: isQuick ? Math.min(traffic.sessions, 200) : traffic.sessions }
}

/** A figure made of the CPU time a request of some cells, worked out for each round and then summed up. */
export interface CpuFigure {
  readonly key: CpuKey
  readonly cells: readonly CellName[]
  /** @param cpu CPU microseconds a request, in the order of `cells`. */
  readonly of: (...cpu: readonly number[]) => number
  readonly unit: '×' | 'µs'
}

export type CpuKey =
  | 'proxy_vs_bare'
  | 'proxy_vs_bare_warm'
  | 'proxy_vs_hpm'
  | 'auth_cpu_us'
  | 'auth_cpu_us_3500'
  | 'routes_1000_vs_10'
  | 'a_a_control'
  | 'proxy_vs_nginx'
  | 'proxy_vs_mod_auth_openidc'

export type Key = CpuKey | 'stream_rss_growth_mb' | 'p99_added_ms' | 'rss_mb'

const ratio = (a = NaN, b = NaN): number => a / b
const difference = (a = NaN, b = NaN): number => a - b
const ours = 'oauth_proxy/others'

export const cpuFigures: readonly CpuFigure[] = [
  { key: 'proxy_vs_bare', cells: [ours, 'bare/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_bare_warm', cells: ['oauth_proxy/same', 'bare/same'], of: ratio, unit: '×' },
  { key: 'proxy_vs_hpm', cells: [ours, 'express_hpm/others'], of: ratio, unit: '×' },
  { key: 'auth_cpu_us', cells: [ours, 'bare/others'], of: difference, unit: 'µs' },
  { key: 'auth_cpu_us_3500', cells: ['oauth_proxy/large', 'bare/large'], of: difference, unit: 'µs' },
  { key: 'routes_1000_vs_10', cells: ['oauth_proxy_1000_routes/many_routes', ours], of: ratio, unit: '×' },
  { key: 'a_a_control', cells: ['bare_twin/others', 'bare/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_nginx', cells: [ours, 'nginx/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_mod_auth_openidc', cells: [ours, 'mod_auth_openidc/own_cookies'], of: ratio, unit: '×' },
]

export const keys: readonly Key[] = [
  ...cpuFigures.map(({ key }) => key),
  'stream_rss_growth_mb',
  'p99_added_ms',
  'rss_mb',
]

/** Limits that the figures must keep, and what they aim at. */
export const targets: Readonly<Partial<Record<Key, { readonly must: number; readonly aim: number }>>> = {
  proxy_vs_bare: { must: 1.4, aim: 1.25 },
  proxy_vs_bare_warm: { must: 1.2, aim: 1.12 },
  proxy_vs_hpm: { must: 0.42, aim: 0.33 },
  auth_cpu_us: { must: 20, aim: 14 },
  auth_cpu_us_3500: { must: 40, aim: 25 },
  routes_1000_vs_10: { must: 1.05, aim: 1.01 },
  stream_rss_growth_mb: { must: 20, aim: 5 },
}

export function cellOf(name: CellName): Cell {
  const [contender, traffic] = name.split('/') as [ContenderName, TrafficName]
  return { contender, traffic }
}
