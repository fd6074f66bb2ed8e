import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'

const run = fileURLToPath(new URL('../torture/run.ts', import.meta.url))

/** The run itself takes about 20 s, which leases that have to run out need. */
const brief = ['--browsers', '4', '--tabs', '4', '--think', '200', '--timeout', '1']

function torture(...args: string[]): Promise<{ readonly code: number | null; readonly stdout: string }> {
  const child = spawn(process.execPath, ['--conditions=token-handler-source', run, ...args], {
    env: { PATH: process.env['PATH'] ?? '', NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  return new Promise((resolve) => void child.once('close', (code) => resolve({ code, stdout })))
}

describe('npm run torture, for a moment', () => {
  it('[A-24][A-26][B-RT-04] breaks nothing that is promised with the SQLite ledger', async () => {
    const { code, stdout } = await torture('--faults', '12', '--seed', '7', ...brief)
    expect(stdout).toMatch(/\n12 passed, 0 failed\n$/)
    expect(code).toBe(0)
  }, 120_000)

  it('fails without a ledger, or it would show nothing', async () => {
    const { code, stdout } = await torture('--store', 'none', '--faults', '6', '--seed', '7', ...brief)
    expect(stdout).toContain('BROKEN no refresh token is sent again except from doubt')
    expect(stdout).toMatch(/\n\d passed, [1-9]\d* failed\n$/)
    expect(code).toBe(1)
  }, 120_000)
})
