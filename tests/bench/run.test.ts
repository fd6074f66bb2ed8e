import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'

const program = fileURLToPath(new URL('./run.ts', import.meta.url))

function bench(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, ['--conditions=token-handler-source', program, ...args])
}

// What it says is checked, never how long anything took: figures of a smoke run mean nothing.
describe('npm run bench', () => {
  it('prints one JSON object with a number for every figure whose programs are installed', async () => {
    const { stdout } = await bench('--quick', '--json')
    const report = JSON.parse(stdout) as Record<string, unknown>
    expect(report).toMatchObject({
      proxy_vs_bare: expect.any(Number),
      proxy_vs_bare_warm: expect.any(Number),
      proxy_vs_hpm: expect.any(Number),
      auth_cpu_us: expect.any(Number),
      auth_cpu_us_3500: expect.any(Number),
      routes_1000_vs_10: expect.any(Number),
      stream_rss_growth_mb: expect.any(Number),
      idle_stream_kb: expect.any(Number),
      p99_added_ms: expect.any(Number),
      rss_mb: expect.any(Number),
      workers_cpu: expect.any(Number),
      workers_speedup: expect.any(Number),
      refresh_storm_calls: 1,
      refresh_storm_p99_ms: expect.any(Number),
      a_a_control: expect.any(Number),
      quick: true,
    })
    const absent = (report['absent'] as string[]).map((line) => line.split(':', 1)[0])
    const dependent = [
      'proxy_vs_nginx',
      'forward_auth_cpu_us',
      'nginx_auth_request_vs_nginx',
      'proxy_vs_mod_auth_openidc',
      'refresh_storm_p99_ms_redis',
    ]
    for (const key of dependent) {
      expect([key, typeof report[key] === 'number']).toEqual([key, !absent.includes(key)])
    }
  }, 180_000)

  it('measures only what --only names', async () => {
    const { stdout } = await bench('--quick', '--json', '--only', 'rss_mb')
    expect(Object.keys(JSON.parse(stdout) as object)).toContain('rss_mb')
    expect(Object.keys(JSON.parse(stdout) as object)).not.toContain('proxy_vs_bare')
  }, 60_000)

  it('refuses a figure that it does not know, and says which there are', async () => {
    await expect(bench('--only', 'speed')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no figure "speed"[^]*proxy_vs_bare_warm/),
    })
  })
})
