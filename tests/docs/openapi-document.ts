import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

export type JsonSchema = Readonly<Record<string, unknown>>

export interface ApiResponse {
  readonly description: string
  readonly headers?: Readonly<Record<string, { readonly required?: boolean; readonly schema: JsonSchema }>>
  readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>
}

export interface ApiOperation {
  readonly operationId: string
  readonly summary: string
  readonly responses: Readonly<Record<string, ApiResponse>>
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> }
}

export interface ApiDocument {
  readonly openapi: string
  readonly servers: readonly { readonly url: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>
  readonly components: {
    readonly responses: Readonly<Record<string, ApiResponse>>
    readonly schemas: Readonly<Record<string, JsonSchema>>
  }
}

const file = join(import.meta.dirname, '../../docs/openapi.yaml')

/** References of the document that lead nowhere. */
export function danglingReferences(): string[] {
  const dangling: string[] = []
  readDocument((reference) => dangling.push(reference))
  return dangling
}

/** docs/openapi.yaml with every reference resolved. */
export function readDocument(onDangling: (reference: string) => void = () => {}): ApiDocument {
  const raw = parse(readFileSync(file, 'utf8'), { merge: true, uniqueKeys: true }) as unknown
  const resolve = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(resolve)
    if (typeof value !== 'object' || value === null) return value
    const { $ref: reference } = value as { $ref?: unknown }
    if (typeof reference !== 'string') {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]))
    }
    let target: unknown = raw
    for (const step of reference.replace(/^#\//, '').split('/')) target = (target as Record<string, unknown>)?.[step]
    if (target === undefined) onDangling(reference)
    return resolve(target)
  }
  return resolve(raw) as ApiDocument
}

/** What is wrong with a value, by JSON Schema; empty when nothing is. */
export function problemsOf(schema: JsonSchema, value: unknown): string[] {
  // An intersection of closed objects closes each of them; ours closes the first and narrows one property.
  const { allOf } = schema as { allOf?: readonly JsonSchema[] }
  if (allOf !== undefined) return allOf.flatMap((part) => problemsOf(part, value))
  const parsed = z.fromJSONSchema(schema).safeParse(value)
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
}
