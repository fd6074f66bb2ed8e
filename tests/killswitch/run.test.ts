import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import { failuresOf, percentile } from './report.ts'

const program = fileURLToPath(new URL('./run.ts', import.meta.url))

// What it says is checked, never how long anything took: figures of a smoke run mean nothing.
describe('npm run killswitch', () => {
  it('prints one JSON object with every figure of a store', async () => {
    const args = [
      '--conditions=token-handler-source',
      program,
      '--quick',
      '--json',
      '--store',
      'sqlite',
      '--rounds',
      '0',
    ]
    const run = await promisify(execFile)(process.execPath, args).catch((error: { stdout: string }) => error)
    const report = JSON.parse(run.stdout) as Record<string, unknown>
    expect(report).toMatchObject({
      sqlite_streams_p50_ms: expect.any(Number),
      sqlite_streams_p99_ms: expect.any(Number),
      sqlite_requests_p50_ms: expect.any(Number),
      sqlite_requests_p99_ms: expect.any(Number),
      sqlite_accept_p99_ms: expect.any(Number),
      sqlite_everybody_ms: expect.any(Number),
      sqlite_streams: 30,
      sqlite_restart_refused_ms: expect.any(Number),
    })
    const failures = report['failures'] as string[]
    expect(failures.filter((failure) => !failure.includes(' ms to reach everything'))).toEqual([])
  }, 180_000)

  it('fails when an end takes longer than is promised, or was not heeded', () => {
    const options = { asJson: false, stores: [], replicas: 3, streams: 1, rules: 1, held: [], rounds: 0 } as const
    const reach = { streamsMs: [10], requestsMs: [10], acceptMs: [1], everybodyMs: 10, streams: 3, violations: [] }
    const report = { options, restart: new Map(), partition: undefined, cost: [] }
    expect(failuresOf({ ...report, reach: new Map([['sqlite', reach]]) })).toEqual([])
    expect(failuresOf({ ...report, reach: new Map([['sqlite', { ...reach, requestsMs: [1001] }]]) })).toHaveLength(1)
    const violated = { restartRefusedMs: 1, violations: ['served an ended session'] }
    expect(failuresOf({ ...report, reach: new Map(), partition: violated })).toEqual(['served an ended session'])
    expect([percentile([3, 1, 2], 50), percentile([1, 2, 3], 99), percentile([], 50)]).toEqual([2, 3, 0])
  })
})
