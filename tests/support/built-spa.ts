import { execFile } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..', '..')

/**
 * Builds the example SPA as `npm start` does, into a folder of its own, so that test files do not disturb each other.
 * @returns The folder, with `index.html` and `callback.html`.
 */
export async function buildSpa(): Promise<{ root: string }> {
  const outDir = mkdtempSync(join(tmpdir(), 'token-handler-spa-'))
  const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
  const args = ['build', join(root, 'spa-example', 'web'), '--outDir', outDir, '--emptyOutDir', '--logLevel', 'warn']
  await promisify(execFile)(process.execPath, [vite, ...args], { cwd: root })
  return { root: outDir }
}
