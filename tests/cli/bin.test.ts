import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'

const bin = fileURLToPath(new URL('../../cli/src/bin.ts', import.meta.url))

/** Runs the command on a Node.js that says it were of that version. */
function versionOn(version: string): {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
} {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`
  const args = ['--conditions=token-handler-source', '--import', `data:text/javascript,${pretend}`, bin, '--version']
  return spawnSync(process.execPath, args, { encoding: 'utf8', env: { NODE_NO_WARNINGS: '1' } })
}

describe('the command token-handler', () => {
  it.each(['20.20.2', '22.23.1', '24.10.0'])('says what it needs on Node.js %s', (version) => {
    const { status, stdout, stderr } = versionOn(version)
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toBe(
      `token-handler: needs Node.js 24.11 or newer of that line, or 26 or newer; this is ${version} (${process.execPath})\n`,
    )
  })

  it.each(['24.11.0', '26.0.0'])('runs on Node.js %s', (version) => {
    expect(versionOn(version)).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
  })
})
