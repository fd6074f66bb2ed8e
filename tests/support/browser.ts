import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { lstat, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { chromium, type Browser } from 'playwright-core'

const ON_PATH = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/**
 * What a root user without a display needs, and quiet. Nothing here may touch web security; `tests/browser/control.test.ts`
 * proves that it is on.
 */
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A Chromium to launch, and what its process needs in the environment. */
interface Executable {
  path: string
  env: Record<string, string>
}

/**
 * Starts a headless Chromium: the one named by `TH_CHROMIUM`, else one on PATH, else the one inside the npm package
 * `@sparticuz/chromium`, which is unpacked once a version into the temporary folder.
 * @param options.args Command-line switches besides the usual ones, such as `--host-resolver-rules=MAP evil.test 127.0.0.1`.
 * @returns The browser; whoever starts it closes it.
 * @throws Error when no Chromium is found, or when it does not start.
 */
export async function launchBrowser({ args = [] }: { args?: readonly string[] } = {}): Promise<Browser> {
  const executable = await findExecutable()
  return chromium.launch({
    executablePath: executable.path,
    args: [...ARGS, ...args],
    chromiumSandbox: false,
    env: { ...process.env, ...executable.env },
  })
}

async function findExecutable(): Promise<Executable> {
  const named = process.env['TH_CHROMIUM']
  if (named !== undefined && named !== '') return { path: named, env: {} }
  const installed = findOnPath()
  return installed === undefined ? unpackFromPackage() : { path: installed, env: {} }
}

function findOnPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return ON_PATH.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The package unpacks to fixed names straight under the temporary folder and takes a half-written file for a finished
 * one. So it runs in a process whose temporary folder is private, and the result appears under its shared name by one
 * rename: of several test workers the first one wins, and the others use what it made.
 */
async function unpackFromPackage(): Promise<Executable> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error('No Chromium found: install one or name its executable in TH_CHROMIUM')
  }
  const entry = import.meta.resolve('@sparticuz/chromium')
  const manifest = await readFile(join(dirname(fileURLToPath(entry)), '..', 'package.json'), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  const folder = join(tmpdir(), `token-handler-chromium-${version}-${process.getuid?.() ?? 0}`)
  if (!(await isOwnFolder(folder))) await unpackTo(folder, entry)
  return {
    path: join(folder, 'chromium'),
    env: {
      LD_LIBRARY_PATH: [join(folder, 'al2023', 'lib'), process.env['LD_LIBRARY_PATH']].filter(Boolean).join(delimiter),
      FONTCONFIG_PATH: join(folder, 'fonts'),
    },
  }
}

async function unpackTo(folder: string, entry: string): Promise<void> {
  const stage = await mkdtemp(`${folder}.`)
  try {
    await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', 'await (await import(process.argv[1])).default.executablePath()', entry],
      // The package brings the system libraries only where it believes to be in this cloud runtime.
      { env: { ...process.env, TMPDIR: stage, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x' } },
    )
    await writeFile(join(stage, 'fonts', 'fonts.conf'), fontConfiguration(folder))
    await rename(stage, folder)
  } catch (error) {
    await rm(stage, { recursive: true, force: true })
    if (!(await isOwnFolder(folder))) throw new Error('Chromium could not be unpacked', { cause: error })
  }
}

/** The package's own one names folders of the cloud runtime only, and pages would show no text. */
function fontConfiguration(folder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>${folder}/fonts</dir>
  <cachedir>${folder}/fonts-cache</cachedir>
</fontconfig>
`
}

/** A folder that another user planted under the predictable name would be a program of theirs run by us. */
async function isOwnFolder(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined)
  if (found === undefined) return false
  if (found.isDirectory() && found.uid === process.getuid?.()) return true
  throw new Error(`${folder} exists and belongs to somebody else: remove it, or name a browser in TH_CHROMIUM`)
}
