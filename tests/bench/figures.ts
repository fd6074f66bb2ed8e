import type { ContenderName } from './contenders/contender.ts'
import type { Cell } from './measure-cpu.ts'
import type { Traffic } from './traffic.ts'

export type CellName = keyof typeof cells

/** More sessions than any cache holds, taken in turn: no request finds what the last one of its session left. */
export const manySessions = 20_000

const others = { name: 'others', sessions: manySessions, tokenBytes: 900, routes: 10 }
const same = { name: 'same', sessions: 1, tokenBytes: 900, routes: 10 }
const large = { name: 'large', sessions: manySessions, tokenBytes: 3500, routes: 10 }
const manyRoutes = { name: 'many_routes', sessions: manySessions, tokenBytes: 900, routes: 1000 }
const ownCookies = { name: 'own_cookies', sessions: 0, tokenBytes: 900, routes: 10 }

const cells = {
  'oauth_proxy/others': { contender: 'oauth_proxy', traffic: others },
  'bare/others': { contender: 'bare', traffic: others },
  'bare_twin/others': { contender: 'bare_twin', traffic: others },
  'oauth_proxy/same': { contender: 'oauth_proxy', traffic: same },
  'bare/same': { contender: 'bare', traffic: same },
  'oauth_proxy/large': { contender: 'oauth_proxy', traffic: large },
  'bare/large': { contender: 'bare', traffic: large },
  'two_tables/others': { contender: 'two_tables', traffic: others },
  'two_tables/many_routes': { contender: 'two_tables', traffic: manyRoutes },
  'express_hpm/others': { contender: 'express_hpm', traffic: others },
  'nginx_auth_request/others': { contender: 'nginx_auth_request', traffic: others },
  'forward_auth/others': { contender: 'forward_auth', traffic: others },
  'nginx/others': { contender: 'nginx', traffic: others },
  'one_worker/others': { contender: 'one_worker', traffic: others },
  'all_workers/others': { contender: 'all_workers', traffic: others },
  'mod_auth_openidc/own_cookies': { contender: 'mod_auth_openidc', traffic: ownCookies },
} as const satisfies Record<string, { contender: ContenderName; traffic: Traffic }>

/** The program that a cell needs. */
export function contenderOf(name: CellName): ContenderName {
  return cells[name].contender
}

export function cellOf(name: CellName, { isQuick, connections }: { isQuick: boolean; connections: number }): Cell {
  const { contender, traffic } = cells[name]
  const sessions = isQuick ? Math.min(traffic.sessions, 200) : traffic.sessions
  return { name, contender, routes: traffic.routes, traffic: { ...traffic, sessions }, connections }
}

/** A figure made of what was measured of some cells, worked out for each round and then summed up. */
export interface CpuFigure {
  readonly key: CpuKey
  readonly cells: readonly CellName[]
  /** What of them it is made of; CPU microseconds a request unless given. */
  readonly measure?: 'cpuMicroseconds' | 'requestsPerSecond'
  /** @param values In the order of `cells`. */
  readonly of: (...values: readonly number[]) => number
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
  | 'forward_auth_cpu_us'
  | 'nginx_auth_request_vs_nginx'
  | 'proxy_vs_mod_auth_openidc'
  | 'workers_cpu'
  | 'workers_speedup'

/** Of `npm run bench`, beside those of the CPU: what each is, docs/performance.md tells. */
const otherKeys = [
  'stream_rss_growth_mb',
  'idle_stream_kb',
  'p99_added_ms',
  'rss_mb',
  'refresh_storm_calls',
  'refresh_storm_p99_ms',
  'refresh_storm_p99_ms_redis',
] as const

export type Key = CpuKey | (typeof otherKeys)[number]

const ratio = (a = NaN, b = NaN): number => a / b
const difference = (a = NaN, b = NaN): number => a - b
const ours = 'oauth_proxy/others'

export const cpuFigures: readonly CpuFigure[] = [
  { key: 'proxy_vs_bare', cells: [ours, 'bare/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_bare_warm', cells: ['oauth_proxy/same', 'bare/same'], of: ratio, unit: '×' },
  { key: 'proxy_vs_hpm', cells: [ours, 'express_hpm/others'], of: ratio, unit: '×' },
  { key: 'auth_cpu_us', cells: [ours, 'bare/others'], of: difference, unit: 'µs' },
  { key: 'auth_cpu_us_3500', cells: ['oauth_proxy/large', 'bare/large'], of: difference, unit: 'µs' },
  { key: 'routes_1000_vs_10', cells: ['two_tables/many_routes', 'two_tables/others'], of: ratio, unit: '×' },
  { key: 'a_a_control', cells: ['bare_twin/others', 'bare/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_nginx', cells: [ours, 'nginx/others'], of: ratio, unit: '×' },
  { key: 'forward_auth_cpu_us', cells: ['forward_auth/others'], of: (cpu = NaN) => cpu, unit: 'µs' },
  { key: 'nginx_auth_request_vs_nginx', cells: ['nginx_auth_request/others', 'nginx/others'], of: ratio, unit: '×' },
  { key: 'proxy_vs_mod_auth_openidc', cells: [ours, 'mod_auth_openidc/own_cookies'], of: ratio, unit: '×' },
  { key: 'workers_cpu', cells: ['all_workers/others', 'one_worker/others'], of: ratio, unit: '×' },
  {
    key: 'workers_speedup',
    cells: ['all_workers/others', 'one_worker/others'],
    measure: 'requestsPerSecond',
    of: ratio,
    unit: '×',
  },
]

export const keys: readonly Key[] = [...cpuFigures.map(({ key }) => key), ...otherKeys]

/** Limits that the figures must keep, and what they aim at. */
export const targets: Readonly<Partial<Record<Key, { readonly must: number; readonly aim: number }>>> = {
  proxy_vs_bare: { must: 1.4, aim: 1.25 },
  proxy_vs_bare_warm: { must: 1.2, aim: 1.12 },
  proxy_vs_hpm: { must: 0.42, aim: 0.33 },
  auth_cpu_us: { must: 20, aim: 14 },
  auth_cpu_us_3500: { must: 40, aim: 25 },
  routes_1000_vs_10: { must: 1.05, aim: 1.01 },
  stream_rss_growth_mb: { must: 20, aim: 5 },
  idle_stream_kb: { must: 35, aim: 25 },
  refresh_storm_calls: { must: 1, aim: 1 },
}
