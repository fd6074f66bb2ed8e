import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { glob, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '../..')
const cache = join(root, 'node_modules/.cache/token-handler-spa')
const vite = join(root, 'node_modules/vite/bin/vite.js')

/** What Vite puts into its output, besides packages, whose versions are in the lock file. */
const demoSources = ['spa-example/web', 'spa-example/client']
/** A build that nobody asked for this long belongs to sources that are gone. */
const keepMs = 86_400_000

export interface SpaBuild {
  /** Vite's root, counted from the repository's. Default: the example SPA. */
  readonly folder?: string
  /** `development` builds React's development mode in, which calls effects twice. Default `production`. */
  readonly mode?: 'production' | 'development'
}

/**
 * Builds an SPA, once for every state of its sources: the folder is named after their hash. Several test workers may ask
 * at once: each builds aside, the first rename wins, and the others use what it made.
 * @returns The folder with the built files.
 */
export async function buildSpa({ folder = 'spa-example/web', mode = 'production' }: SpaBuild = {}): Promise<string> {
  const sources = [...new Set([folder, ...demoSources])]
  const finished = join(cache, (await hashOf(sources, mode)).slice(0, 16))
  if (existsSync(finished)) {
    await utimes(finished, new Date(), new Date())
    return finished
  }
  await mkdir(cache, { recursive: true })
  const stage = await mkdtemp(join(cache, 'stage-'))
  try {
    const options = ['--mode', mode, '--outDir', stage, '--emptyOutDir', '--logLevel', 'warn']
    await promisify(execFile)(process.execPath, [vite, 'build', join(root, folder), ...options], {
      env: { ...process.env, NODE_ENV: mode },
    })
    await rename(stage, finished)
  } catch (error) {
    await rm(stage, { recursive: true, force: true })
    if (!existsSync(finished)) throw new Error('the SPA could not be built', { cause: error })
  }
  await removeOld()
  return finished
}

async function hashOf(folders: readonly string[], mode: string): Promise<string> {
  const hash = createHash('sha256').update(mode)
  const files = ['package-lock.json']
  for (const folder of folders) {
    const options = { cwd: root, exclude: ['**/node_modules', '**/dist'] }
    for await (const file of glob(`${folder}/**/*.*`, options)) files.push(file)
  }
  for (const file of files.toSorted()) {
    if ((await stat(join(root, file))).isFile()) hash.update(`\0${file}\0`).update(await readFile(join(root, file)))
  }
  return hash.digest('hex')
}

async function removeOld(): Promise<void> {
  for (const name of await readdir(cache)) {
    const { mtimeMs } = await stat(join(cache, name)).catch(() => ({ mtimeMs: Infinity }))
    if (Date.now() - mtimeMs > keepMs) await rm(join(cache, name), { recursive: true, force: true })
  }
}
