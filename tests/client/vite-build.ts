import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { InlineConfig } from 'vite'

/**
 * Builds with Vite, in a process of its own: its native bundler does not know the objects of Jest's realms for what they are.
 * @param config What JSON can carry.
 */
export async function viteBuild(config: InlineConfig): Promise<void> {
  const program = "await (await import('vite')).build(JSON.parse(process.argv[1]))"
  await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program, JSON.stringify({ logLevel: 'silent', ...config })],
    { cwd: import.meta.dirname, env: { ...process.env, NODE_ENV: 'production' } },
  )
}
