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

/** A document in docs/. */
export type DocumentName = 'openapi.yaml' | 'openapi-admin.yaml'

/** References of the document that lead nowhere. */
export function danglingReferences(name: DocumentName = 'openapi.yaml'): string[] {
  const dangling: string[] = []
  readDocument(name, (reference) => dangling.push(reference))
  return dangling
}

/** The document with every reference resolved. */
export function readDocument(
  name: DocumentName = 'openapi.yaml',
  onDangling: (reference: string) => void = () => {},
): ApiDocument {
  const file = join(import.meta.dirname, '../../docs', name)
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

/** Headers of the message itself (RFC 9112), and those of the connection. */
const ofTheMessage = new Set(['connection', 'content-length', 'content-type', 'date', 'keep-alive'])

/** An answer as it arrived. */
export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** What the text says, if it is JSON. */
  readonly json: unknown
}

/** What of an answer is not as the document has it; empty when nothing is. */
export function problemsOfAnswer(
  response: ApiResponse | undefined,
  { status, headers, text, json }: ApiAnswer,
): string[] {
  if (response === undefined) return [`status ${status} is not documented`]
  const documented = Object.entries(response.headers ?? {}).map(
    ([name, header]) => [name.toLowerCase(), header] as const,
  )
  const names = new Set(documented.map(([name]) => name))
  const problems = [...headers.keys()]
    .filter((name) => !names.has(name) && !ofTheMessage.has(name))
    .map((name) => `header ${name} is not documented`)
  for (const [name, { required = false, schema }] of documented) {
    const values = name === 'set-cookie' ? headers.getSetCookie() : [headers.get(name) ?? []].flat()
    if (required && values.length === 0) problems.push(`header ${name} is missing`)
    for (const value of values)
      problems.push(...problemsOf(schema, value).map((problem) => `header ${name}: ${problem}`))
  }
  const media = response.content?.[headers.get('content-type') ?? '']
  if (response.content === undefined) return text === '' ? problems : [...problems, 'a body is not documented']
  if (media === undefined) return [...problems, `content type ${headers.get('content-type')} is not documented`]
  return [...problems, ...problemsOf(media.schema, json)]
}
