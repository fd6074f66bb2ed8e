import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from '@jest/globals'

const repository = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(repository, path), 'utf8')

interface Manifest {
  readonly name: string
  readonly exports: Readonly<Record<string, unknown>>
}

const scriptsOf = (path: string): Record<string, string> =>
  (JSON.parse(read(path)) as { scripts?: Record<string, string> }).scripts ?? {}

describe('the instructions to install', () => {
  it('never let npx fetch a stranger’s package that is named like our command', () => {
    const pages = [
      'README.md',
      'cli/README.md',
      'spa-example/client/README.md',
      ...readdirSync(join(repository, 'docs')).map(inDocs),
    ]
    const calls = pages
      .filter((page) => page.endsWith('.md'))
      .flatMap((page) => [...read(page).matchAll(/\bnpx +(\S+) +token-handler|\bnpx +token-handler/g)])
    expect(calls.length).toBeGreaterThan(2)
    expect(calls.filter(([, option]) => option !== '--no-install').map(([call]) => call)).toEqual([])
  })

  it('pack every package that the command and the SPA need, after a build that makes the callback page’s script, too', () => {
    const { workspaces } = JSON.parse(read('package.json')) as { workspaces: string[] }
    const [, packed = ''] = /npm pack ((?:-w \S+ )+)/.exec(read('README.md')) ?? []
    const published = workspaces.filter((workspace) => !workspace.startsWith('tools/'))
    expect(packed.trim().split(/ ?-w /).slice(1).toSorted()).toEqual(published.toSorted())
    expect(scriptsOf('package.json')['build']).toContain('spa-example/client/callback/vite.config.ts')
  })
})

describe('a package', () => {
  const packages = ['shared', 'oauth-agent', 'oauth-proxy', 'cli', 'spa-example/client']
  const installed = mkdtempSync(join(tmpdir(), 'installed-'))
  afterAll(() => rmSync(installed, { recursive: true }))

  it.each(packages)(
    '%s gives what was built of it, never its TypeScript, under all conditions that tools set',
    (workspace) => {
      const { name, exports } = JSON.parse(read(`${workspace}/package.json`)) as Manifest
      const folder = join(installed, 'node_modules', name)
      cpSync(join(repository, workspace, 'package.json'), join(folder, 'package.json'), { recursive: true })
      const modules = Object.keys(exports).map((path) => `${name}${path.slice(1)}`)
      // Vite, Vitest and webpack set development, others the rest; Node.js refuses TypeScript below node_modules.
      const set = 'development production module browser source typescript bun deno worker'.split(' ')
      const program = `console.log(JSON.stringify(${JSON.stringify(modules)}.map((module) => import.meta.resolve(module))))`
      const flags = [
        ...set.flatMap((condition) => ['--conditions', condition]),
        '--input-type=module',
        '--eval',
        program,
      ]
      const found = execFileSync(process.execPath, flags, { cwd: installed, encoding: 'utf8' })
      expect((JSON.parse(found) as string[]).filter((url) => !/\/dist\/[a-z-]+\.js$|\.html$/.test(url))).toEqual([])
    },
  )

  it.each(packages)('%s is packed with what was built of it, its license and a page about it', (workspace) => {
    expect(scriptsOf(`${workspace}/package.json`)['prepack']).toMatch(/^tsc -b/)
    expect(read(`${workspace}/LICENSE`)).toBe(read('LICENSE'))
    const { name } = JSON.parse(read(`${workspace}/package.json`)) as { name: string }
    expect(read(`${workspace}/README.md`)).toMatch(new RegExp(`^# ${name}\n`))
  })
})

function inDocs(name: string): string {
  return `docs/${name}`
}
