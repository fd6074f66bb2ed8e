import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { configJsonSchema } from '../../cli/src/commands/schema.ts'

/**
 * Writes what the documentation says about configuration from its schema: docs/token-handler.schema.json and the tables in
 * docs/configuration.md. Run it after a change of shared/src/config/schema.ts or its sections; a test compares.
 */

interface Schema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly additionalProperties?: Schema | boolean
  readonly oneOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
}

/** One key of the file. */
export interface ConfigurationKey {
  /** Such as `proxy.routes[].path`. */
  readonly path: string
  readonly type: string
  /** As JSON; `required`, or nothing where the key may be left out without a replacement. */
  readonly fallback: string
  readonly meaning: string
}

const begin = '<!-- keys: written by tools/docs/configuration.ts -->'
const end = '<!-- /keys -->'

/** The JSON Schema as the file in docs/ has it. */
export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}

/** All keys, in the order of the schema. */
export function configurationKeys(): ConfigurationKey[] {
  return members(configJsonSchema() as Schema, '')
}

/** `text` with the tables between its marks replaced. */
export function withTables(text: string): string {
  const [before, after] = [text.indexOf(begin), text.indexOf(end)]
  if (before === -1 || after === -1) throw new Error('docs/configuration.md lacks the marks of its tables')
  return `${text.slice(0, before)}${begin}\n\n${tables()}\n${text.slice(after)}`
}

function tables(): string {
  const sections = Map.groupBy(configurationKeys(), ({ path }) => /^[a-z_]+(?=[.[])/.exec(path)?.[0] ?? path)
  const general = [...sections].filter(([, keys]) => keys.length === 1).flatMap(([, keys]) => keys)
  const others = [...sections].filter(([, keys]) => keys.length > 1)
  return [['General', general] as const, ...others.map(([name, keys]) => [`\`${name}\``, keys] as const)]
    .map(([title, keys]) => `### ${title}\n\n${table(keys)}\n`)
    .join('\n')
}

function table(keys: readonly ConfigurationKey[]): string {
  const rows = keys.map(({ path, type, fallback, meaning }) => [`\`${path}\``, type, fallback, meaning])
  return [['key', 'value', 'default', 'meaning'], ['---', '---', '---', '---'], ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n')
}

function members({ properties = {}, required = [] }: Schema, parent: string): ConfigurationKey[] {
  return Object.entries(properties).flatMap(([name, schema]) =>
    keysOf(schema, parent === '' ? name : `${parent}.${name}`, required.includes(name)),
  )
}

function keysOf(schema: Schema, path: string, isRequired: boolean): ConfigurationKey[] {
  const fallback = isRequired ? 'required' : isPlain(schema.default) ? code(schema.default) : ''
  const own = (type: string, meaning = schema.description ?? ''): ConfigurationKey => ({
    path,
    type,
    fallback,
    meaning,
  })
  const variants = variantsOf(schema)
  if (variants.length > 0) return [own('one of the following'), ...merged(variants, path)]
  if (schema.properties !== undefined) {
    const inner = members(schema, path)
    return schema.description === undefined ? inner : [own('section'), ...inner]
  }
  if (schema.items?.properties !== undefined) return [own('list of sections'), ...members(schema.items, `${path}[]`)]
  const itemVariants = variantsOf(schema.items ?? {})
  if (itemVariants.length > 0) {
    return [own('list of sections, each one of the following'), ...merged(itemVariants, `${path}[]`)]
  }
  return [own(typeText(schema))]
}

function variantsOf({ oneOf, anyOf }: Schema): readonly Schema[] {
  return (oneOf ?? anyOf ?? []).filter(({ type }) => type === 'object')
}

interface VariantKey extends ConfigurationKey {
  /** What chooses the variant; nothing for the key that does, and where no key does. */
  readonly label?: string
}

function variantKeys(variant: Schema, path: string): VariantKey[] {
  const [choice] = Object.values(variant.properties ?? {}).filter(
    (member) => (member.const ?? member.enum) !== undefined,
  )
  const keys = members(variant, path)
  if (choice === undefined) return keys
  const label = typeText(choice)
  return keys.map((key) => (key.type === label ? key : { ...key, label }))
}

/** Variants share keys: one row for each, with all that they say of it. */
function merged(variants: readonly Schema[], path: string): ConfigurationKey[] {
  const keys = variants.flatMap((variant) => variantKeys(variant, path))
  return [...Map.groupBy(keys, (key) => key.path).values()].map((same) => {
    const [first] = same
    if (first === undefined) throw new Error('groups are never empty')
    const types = [...new Set(same.map(({ type }) => type))]
    if (types.length > 1) {
      const meaning = same.map((key) => `${key.type}: ${key.meaning}`).join('<br>')
      return { ...first, type: types.join(', '), meaning }
    }
    const labels = same.flatMap(({ label }) => label ?? [])
    return labels.length === 0 || same.length === variants.length
      ? first
      : { ...first, meaning: `With ${labels.join(', ')}: ${first.meaning}` }
  })
}

const words: Readonly<Record<string, string>> = { string: 'text', boolean: '`true`, `false`', object: 'section' }

function typeText({ type, enum: options, const: only, minimum, maximum, items, additionalProperties }: Schema): string {
  if (options !== undefined) return options.map(code).join(', ')
  if (only !== undefined) return code(only)
  if (type === 'integer') {
    const isOpen = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
    return isOpen ? `number from ${minimum}` : `number, ${minimum} to ${maximum}`
  }
  if (type === 'array') return items?.enum === undefined ? 'list' : `list of ${typeText(items)}`
  if (type === 'object' && typeof additionalProperties === 'object') {
    return additionalProperties.type === 'string' ? 'names with values' : 'names with lists of values'
  }
  const text = words[type ?? '']
  if (text === undefined) throw new Error(`the documentation has no words for the type ${String(type)}`)
  return text
}

/** Sections that are filled with the defaults of their members say nothing by their own default. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value !== undefined
  return Array.isArray(value) || Object.keys(value).length > 0
}

function code(value: unknown): string {
  if (!Array.isArray(value)) return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
  return value.length === 0 ? 'none' : value.map(code).join(', ')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = (name: string): URL => new URL(`../../docs/${name}`, import.meta.url)
  writeFileSync(file('token-handler.schema.json'), schemaText())
  const page = file('configuration.md')
  writeFileSync(page, withTables(readFileSync(page, 'utf8')))
}
