import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
const readme = read('README.md')

describe('the pages for newcomers', () => {
  it('name the platforms that the dependencies bring a Node.js for, and the versions that others need', () => {
    const runtime = JSON.parse(read('tools/node-runtime/package.json')) as { optionalDependencies: object }
    const brought = Object.keys(runtime.optionalDependencies).map((name) => name.replace('node-', ''))
    const [, system = '', processors = ''] = /^- \*\*(\w+)\*\* \(([^)]+)\)/m.exec(readme) ?? []
    const named = processors.split(', ').map((processor) => `${system.toLowerCase()}-${processor}`)
    expect(named.toSorted()).toEqual(brought.toSorted())

    expect(namedVersions(readme)[0]).toBe(engines)
  })

  it.each(['README.md', 'docs/getting-started.md', 'cli/README.md'])(
    '%s names the Node.js that an installation needs, which brings none, before the command to install',
    (page) => {
      const text = read(page)
      const install = text.search(/^ *npm install /m)
      const steps = text.slice(
        text.search(/^(?:## Put your own|## 2\. Install|# @token)/m),
        install < 0 ? undefined : install,
      )
      expect(namedVersions(steps)).toEqual([engines])
    },
  )
})

const { node: engines } = (JSON.parse(read('cli/package.json')) as { engines: { node: string } }).engines

/** What a text says of Node.js, in the words of package.json. */
function namedVersions(text: string): string[] {
  const named = text.matchAll(/Node\.js ([\d.]+) or newer of that line, or (\d+) or newer/g)
  return [...named].map(([, older, newer]) => `^${older}.0 || >=${newer}.0.0`)
}
