import type { z } from 'zod'

const wholeReference = /^\$\{[A-Za-z_][A-Za-z0-9_]*\}$/
const integer = /^-?\d{1,15}$/

/**
 * What the environment gives is text. Where all of a value is one `${NAME}` and a number or a switch is wanted in its place,
 * it is read as that, if it is one.
 * @param raw The values as the file has them.
 * @param values The same with references resolved.
 * @param issues What a first parse complained about.
 */
export function readAsWanted(raw: unknown, values: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const typed = structuredClone(values)
  for (const issue of issues) {
    if (issue.code !== 'invalid_type') continue
    const written = memberAt(raw, issue.path)
    const text = memberAt(values, issue.path)
    if (typeof written !== 'string' || typeof text !== 'string' || !wholeReference.test(written)) continue
    const parent = memberAt(typed, issue.path.slice(0, -1))
    const value = parseAs(issue.expected, text)
    const name = issue.path.at(-1)
    if (value !== undefined && name !== undefined) Reflect.set(parent as object, name, value)
  }
  return typed
}

function parseAs(type: string, text: string): number | boolean | undefined {
  if ((type === 'number' || type === 'int') && integer.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return undefined
}

function memberAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Readonly<Record<PropertyKey, unknown>> | undefined)?.[step], value)
}
