import { TokenHandlerError } from '@token-handler/shared'
import type { Request } from 'express'
import { parameter, parametersOf } from '../parameters.ts'

/**
 * What the SPA says about the object or audience: exactly the named members.
 * @throws TokenHandlerError `invalid_request`, `unsupported_media_type`
 */
export function readInput(
  req: Request,
  required: readonly string[],
  optional: readonly string[] = [],
): ReadonlyMap<string, string> {
  const parameters = parametersOf(req, { numbers: true })
  const known = new Set([...required, ...optional])
  const input = new Map<string, string>()
  for (const [name] of parameters) {
    if (!known.has(name)) throw malformed(`This capability takes ${[...known].join(', ') || 'nothing'}.`)
    const value = parameter(parameters, name)
    if (value !== undefined) input.set(name, value)
  }
  const missing = required.filter((name) => !input.has(name))
  if (missing.length > 0) throw malformed(`Missing: ${missing.join(', ')}.`)
  return input
}

export function malformed(detail: string): TokenHandlerError {
  return new TokenHandlerError('invalid_request', { detail })
}
