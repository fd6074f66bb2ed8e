import express, { type Request, type RequestHandler } from 'express'
import { TokenHandlerError } from '@token-handler/shared'

/** Request parameters in the order in which they came; a name may repeat until somebody asks for it. */
export type Parameters = readonly (readonly [name: string, value: string])[]

const mostParameters = 100
const formType = 'application/x-www-form-urlencoded'
const mediaType = /^application\/(?:json|x-www-form-urlencoded)(?:[ \t]*;[ \t]*charset="?utf-8"?)?[ \t]*$/i
// eslint-disable-next-line no-control-regex
const controlCharacters = /[\u0000-\u001F\u007F]/

/** Reads a request body as it is, up to a size; compressed bodies are refused (415), longer ones too (413). */
export function readBody(limitBytes: number): RequestHandler {
  return express.raw({ type: () => true, limit: limitBytes, inflate: false })
}

/**
 * The parameters of a body that {@link readBody} read: form-urlencoded, or a flat JSON object of strings. No body is no
 * parameters, whatever its type says.
 * @param options.numbers Take whole numbers in JSON too, as text.
 * @throws TokenHandlerError `unsupported_media_type`, `invalid_request`
 */
export function parametersOf(req: Request, { numbers = false }: { numbers?: boolean } = {}): Parameters {
  const body: unknown = req.body
  if (!Buffer.isBuffer(body) || body.length === 0) return []
  const type = req.headers['content-type'] ?? ''
  if (!mediaType.test(type)) throw new TokenHandlerError('unsupported_media_type')
  const text = decode(body)
  const parameters = type.toLowerCase().startsWith(formType) ? parseForm(text) : parseFlatJson(text, numbers)
  if (parameters.length > mostParameters) throw malformed('Too many parameters.')
  return parameters
}

/**
 * The value of one parameter.
 * @throws TokenHandlerError `invalid_request` when it repeats (RFC 6749 section 3.1) or holds control characters.
 */
export function parameter(parameters: Parameters, name: string): string | undefined {
  const [first, second] = parameters.filter(([one]) => one === name)
  if (first === undefined) return undefined
  if (second !== undefined) throw malformed(`The parameter ${name} repeats.`)
  if (controlCharacters.test(first[1])) throw malformed(`The parameter ${name} holds control characters.`)
  return first[1]
}

/**
 * Parameters that the SPA adds to one of our requests: only names on the list, each once, no control characters. What is
 * not on the list is an error rather than dropped, so that a typo shows.
 * @throws TokenHandlerError `invalid_request`
 */
export function allowedParameters(parameters: Parameters, allowed: ReadonlySet<string>): URLSearchParams {
  const result = new URLSearchParams()
  for (const [name] of parameters) {
    if (!allowed.has(name)) throw malformed('A parameter is not on the list of allowed ones.')
    const value = parameter(parameters, name)
    if (value !== undefined) result.set(name, value)
  }
  return result
}

function malformed(detail: string): TokenHandlerError {
  return new TokenHandlerError('invalid_request', { detail })
}

function decode(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch (cause) {
    throw new TokenHandlerError('invalid_request', { cause, detail: 'The body is not UTF-8.' })
  }
}

function parseForm(text: string): Parameters {
  try {
    return text
      .split('&', mostParameters + 1)
      .filter((pair) => pair !== '')
      .map((pair) => {
        const end = pair.indexOf('=')
        const [name, value] = end === -1 ? [pair, ''] : [pair.slice(0, end), pair.slice(end + 1)]
        return [decodeComponent(name), decodeComponent(value)] as const
      })
  } catch (cause) {
    throw new TokenHandlerError('invalid_request', { cause, detail: 'The form holds a broken escape.' })
  }
}

// URLSearchParams would repair what is broken; a parameter that needs repair did not come from a browser.
function decodeComponent(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

function parseFlatJson(text: string, numbers: boolean): Parameters {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new TokenHandlerError('invalid_request', { cause, detail: 'The body is not JSON.' })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('Send a JSON object.')
  const members: [string, unknown][] = Object.entries(value)
  const isTaken = (one: unknown): boolean => typeof one === 'string' || (numbers && Number.isSafeInteger(one))
  if (!members.every(([, one]) => isTaken(one))) throw malformed('Every member has to be a string.')
  // Half of a surrogate pair would become another character on its way (RFC 8259 section 8.2).
  if (members.flat().some((one) => typeof one === 'string' && !one.isWellFormed()))
    throw malformed('Text is cut within a character.')
  // JSON.parse keeps the last of repeated names; in a flat object they show as strings too many.
  const strings = members.filter(([, one]) => typeof one === 'string').length
  const written = text.match(/"(?:[^"\\]|\\.)*"/gs)?.length ?? 0
  if (written !== members.length + strings) throw malformed('A parameter repeats.')
  return members.map(([name, one]) => [name, String(one)] as const)
}
