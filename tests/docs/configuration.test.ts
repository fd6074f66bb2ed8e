import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { loadConfig } from '@token-handler/shared'
import { parse } from 'yaml'
import { configurationKeys, schemaText, withTables } from '../../tools/docs/configuration.ts'

const rewrite = 'node --conditions=development tools/docs/configuration.ts'
const file = (name: string): string => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url))
const read = (name: string): string => readFileSync(file(name), 'utf8')
const keys = configurationKeys()
const env = { CLIENT_SECRET: 'a client secret' }

describe('docs/token-handler.schema.json', () => {
  it(`is what the schema gives (${rewrite})`, () => {
    expect(read('token-handler.schema.json')).toBe(schemaText())
  })
})

describe('docs/configuration.md', () => {
  it(`has the tables that the schema gives (${rewrite})`, () => {
    const text = read('configuration.md')
    expect(withTables(text)).toBe(text)
  })

  it('says of every key what it means', () => {
    expect(keys.length).toBeGreaterThan(70)
    expect(keys.filter(({ meaning }) => !/^(?:.+: )?\S.{8,}\.$/s.test(meaning))).toEqual([])
    expect(new Set(keys.map(({ path }) => path)).size).toBe(keys.length)
  })
})

describe('docs/token-handler.example.yaml', () => {
  const example = read('token-handler.example.yaml')

  it('is right', () => {
    expect(loadConfig(file('token-handler.example.yaml'), { env })).toMatchObject({
      public_url: 'https://www.example.com',
      proxy: { routes: [{ scopes: ['orders'] }, { max_age: 3600 }, { navigable: true }, { session: 'none' }] },
    })
  })

  it('names every key, if only behind a # sign', () => {
    const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1)
    const missing = keys.filter(({ path }) => !new RegExp(`^[#\\s-]*${last(path)}:`, 'm').test(example))
    expect(missing.map(({ path }) => path)).toEqual([])
  })

  it('shows the defaults behind # signs as they are', () => {
    const shown = [...example.matchAll(/^ *# ([a-z_]+): ([^#\n]+)/gm)].map(([, name = '', value = '']) => {
      const text = JSON.stringify(parse(value))
      return { name, text }
    })
    const defaults = shown.flatMap(({ name, text }) =>
      keys
        .filter(({ path, fallback }) => path.endsWith(`.${name}`) && /^`[^`]+`$/.test(fallback))
        .map(({ fallback }) => ({ name, text, fallback: fallback.slice(1, -1) })),
    )
    expect(defaults.length).toBeGreaterThan(8)
    for (const { name, text, fallback } of defaults) expect([name, text.replaceAll('"', '')]).toEqual([name, fallback])
  })

  it('holds no secret of its own', () => {
    expect(() => loadConfig(file('token-handler.example.yaml'), { env: {} })).toThrow(
      'the environment variable CLIENT_SECRET is not set',
    )
  })
})
