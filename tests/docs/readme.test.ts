import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
const readme = read('README.md')

describe('README.md', () => {
  it('names the platforms that the dependencies bring a Node.js for, and the versions that others need', () => {
    const runtime = JSON.parse(read('tools/node-runtime/package.json')) as { optionalDependencies: object }
    const brought = Object.keys(runtime.optionalDependencies).map((name) => name.replace('node-', ''))
    const [, system = '', processors = ''] = /^- \*\*(\w+)\*\* \(([^)]+)\)/m.exec(readme) ?? []
    const named = processors.split(', ').map((processor) => `${system.toLowerCase()}-${processor}`)
    expect(named.toSorted()).toEqual(brought.toSorted())

    const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
    const [, older, newer] = /Node\.js ([\d.]+) or newer of that line, or (\d+) or newer/.exec(readme) ?? []
    expect(engines.node).toBe(`^${older}.0 || >=${newer}.0.0`)
  })
})
