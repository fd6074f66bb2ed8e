import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { checkConfig } from '@token-handler/shared'
import { parse } from 'yaml'
import { problemsOf, smallest } from '../shared/configuration.ts'

const page = readFileSync(new URL('../../docs/authorization-servers.md', import.meta.url), 'utf8')
const examples = [...page.matchAll(/^## (.+)\n\n```yaml\n([\s\S]+?)```/gm)].map(([, name = '', text = '']) => ({
  name,
  text,
}))

describe('docs/authorization-servers.md', () => {
  it('has an example for each of five servers', () => {
    expect(examples).toHaveLength(5)
  })

  it.each(examples)('the example for $name is right', ({ text }) => {
    const example = parse(text) as object
    const config = { ...smallest, public_url: 'https://www.example.com', ...example }
    expect(problemsOf(() => checkConfig(config))).toEqual([])
  })
})
