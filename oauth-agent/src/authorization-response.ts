import { TokenHandlerError, type ErrorCode } from '@token-handler/shared'
import { unverifiedPayload } from './id-token.ts'
import type { ResponseMode } from './options.ts'
import { parameter, type Parameters } from './parameters.ts'

/** An authorization response as the SPA relays it (RFC 6749 sections 4.1.2 and 4.1.2.1). */
export interface AuthorizationResponse {
  /** The JWT that says all this (JARM), still to be verified; `undefined` in the response mode `query`. */
  readonly jwt: string | undefined
  readonly state: string
  /** RFC 9207. */
  readonly iss: string | undefined
  readonly result: { readonly code: string } | { readonly error: string }
}

/** Longer values are no codes or states, whoever made them. */
const longestValue = 16 * 1024
const visible = /^[\x20-\x7E]+$/

/** What of a JWT's content belongs to the response; the rest is about the JWT. */
const namesInJwt = ['state', 'iss', 'code', 'error']

/**
 * Reads an authorization response. Unknown parameters are ignored (`session_state` and the like); `error` beside `code` is
 * an error. In the response mode `jwt` only what the JWT says counts (JARM section 2.3.1).
 * @throws TokenHandlerError `invalid_request` for repeated, missing or garbled parameters, and for answers of flows and
 * modes that were not asked for: implicit, hybrid, signed or unsigned.
 */
export function parseAuthorizationResponse(parameters: Parameters, mode: ResponseMode): AuthorizationResponse {
  if (mode === 'query') return { jwt: undefined, ...parsePlain(parameters) }
  const jwt = parameter(parameters, 'response')
  const content = jwt === undefined || jwt.length > longestValue ? undefined : unverifiedPayload(jwt)
  if (jwt === undefined || content === undefined) {
    throw new TokenHandlerError('invalid_request', { detail: 'The parameter response is missing or no JWT.' })
  }
  return { jwt, ...parsePlain(namesInJwt.flatMap((name) => memberOf(content, name))) }
}

/** What is no text is garbled, not absent: beside a code, an `error` of any other type is an error still. */
function memberOf(content: Readonly<Record<string, unknown>>, name: string): Parameters {
  const value = content[name] ?? undefined
  if (value === undefined) return []
  if (typeof value === 'string') return [[name, value]]
  throw new TokenHandlerError('invalid_request', { detail: `The parameter ${name} is malformed.` })
}

function parsePlain(parameters: Parameters): Omit<AuthorizationResponse, 'jwt'> {
  const read = (name: string): string | undefined => {
    const value = parameter(parameters, name)
    if (value === undefined || value === '') return undefined
    if (value.length > longestValue || !visible.test(value)) {
      throw new TokenHandlerError('invalid_request', { detail: `The parameter ${name} is malformed.` })
    }
    return value
  }
  for (const name of ['response', 'id_token', 'access_token']) {
    if (read(name) !== undefined) {
      throw new TokenHandlerError('invalid_request', { detail: `The parameter ${name} was not asked for.` })
    }
  }
  const [state, iss, error, code] = [read('state'), read('iss'), errorOf(parameters), read('code')]
  if (state === undefined) throw new TokenHandlerError('invalid_request', { detail: 'The parameter state is missing.' })
  if (error !== undefined) return { state, iss, result: { error } }
  if (code === undefined) throw new TokenHandlerError('invalid_request', { detail: 'The parameter code is missing.' })
  return { state, iss, result: { code } }
}

/** The error code, as far as it is a legal one: whatever else it may be, it is an error. */
function errorOf(parameters: Parameters): string | undefined {
  const [first, second] = parameters.filter(([name]) => name === 'error')
  if (second !== undefined) throw new TokenHandlerError('invalid_request', { detail: 'The parameter error repeats.' })
  if (first === undefined || first[1] === '') return undefined
  return /^[\x20-\x21\x23-\x5B\x5D-\x7E]{1,60}$/.test(first[1]) ? first[1] : 'malformed'
}

const knownErrors: Readonly<Record<string, ErrorCode>> = {
  access_denied: 'access_denied',
  login_required: 'login_required',
  interaction_required: 'interaction_required',
  consent_required: 'interaction_required',
  account_selection_required: 'interaction_required',
}

/** Our error for an `error` of the authorization server. Its text came through the browser and is repeated nowhere else. */
export function authorizationError(error: string): TokenHandlerError {
  return new TokenHandlerError(Object.hasOwn(knownErrors, error) ? knownErrors[error]! : 'authorization_error', {
    detail: 'The authorization response is an error.',
  })
}
