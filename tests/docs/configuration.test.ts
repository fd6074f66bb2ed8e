import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { loadConfig } from '@token-handler/shared'
import { parse } from 'yaml'
import { configurationKeys, schemaText, withTables } from '../../tools/docs/configuration.ts'

const rewrite = 'node --conditions=token-handler-source tools/docs/configuration.ts'
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

  it('has the keys of every kind of capability, and says which kind they are for', () => {
    const meanings = new Map(keys.map(({ path, meaning }) => [path, meaning]))
    expect(meanings.get('capabilities[].bucket')).toBe('With `s3-presigned`, `s3-sts`: The one bucket.')
    expect(meanings.get('capabilities[].audience')).toBe('With `jwt`: Who the token is for.')
    expect(meanings.get('capabilities[].roles')).toBe('Roles, one of which the user must have.')
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
    // Keys of one name have different defaults in different sections.
    const defaults = shown
      .map((one) => ({
        ...one,
        fallbacks: keys
          .filter(({ path, fallback }) => path.endsWith(`.${one.name}`) && /^`[^`]+`$/.test(fallback))
          .map(({ fallback }) => fallback.slice(1, -1)),
      }))
      .filter(({ fallbacks }) => fallbacks.length > 0)
    expect(defaults.length).toBeGreaterThan(8)
    for (const { name, text, fallbacks } of defaults) {
      expect([name, fallbacks]).toEqual([name, expect.arrayContaining([text.replaceAll('"', '')])])
    }
  })

  it('holds no secret of its own', () => {
    expect(() => loadConfig(file('token-handler.example.yaml'), { env: {} })).toThrow(
      'the environment variable CLIENT_SECRET is not set',
    )
  })
})
