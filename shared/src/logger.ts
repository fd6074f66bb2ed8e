import { types } from 'node:util'
import { pino, type DestinationStream } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

type LogMethod = (fields: Readonly<Record<string, unknown>>, message: string) => void

/** JSON lines. Fields hold codes, ids and counts; never a token, a cookie, a query string or a body. */
export interface Logger {
  readonly debug: LogMethod
  readonly info: LogMethod
  readonly warn: LogMethod
  readonly error: LogMethod
}

/** @param destination Standard output unless given. */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  const log = destination === undefined ? pino(options) : pino(options, destination)
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  }
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** An error as the log shows it: what it is and where it came from, without what a server or a browser sent. */
export interface ErrorFields {
  readonly type: string
  readonly message: string
  readonly code?: string
  /** OAuth error code (RFC 6749 section 5.2). */
  readonly oauthError?: string
  readonly status?: number
  /** The host that a look-up was about, and the file that an operation was about: of the system's own errors. */
  readonly hostname?: string
  readonly path?: string
  readonly stack?: string
  readonly cause?: ErrorFields
}

const longestMessage = 300
const codeFormat = /^(?:[A-Z][A-Z0-9_]{0,60}|[a-z][a-z_]{0,60})$/

/**
 * Describes an error for the log. Causes are followed three deep. Libraries quote in messages what they received, and hang
 * bodies, parameters and responses on errors: the first is cut out, the second is left out.
 */
export function describeError(error: unknown, depth = 0): ErrorFields {
  if (!types.isNativeError(error)) return describeOther(error)
  const {
    code,
    error: oauthError,
    status,
    syscall,
    hostname,
    path,
  } = error as Readonly<Record<string, unknown>> & Error
  return {
    type: error.name,
    message: redactMessage(error),
    ...(isCode(code) ? { code } : {}),
    ...(isCode(oauthError) ? { oauthError } : {}),
    ...(typeof status === 'number' ? { status } : {}),
    // The message has them too, where they look like tokens when they are long.
    ...(typeof syscall === 'string' && isName(hostname) ? { hostname } : {}),
    ...(typeof syscall === 'string' && isName(path) ? { path } : {}),
    ...(depth === 0 && error.stack !== undefined ? { stack: stackFrames(error.stack, error.message) } : {}),
    ...(error.cause !== undefined && depth < 3 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

function describeOther(value: unknown): ErrorFields {
  if (typeof value === 'string') return { type: 'string', message: redact(value) }
  const type = typeof value === 'object' && value !== null ? value.constructor?.name : undefined
  return { type: type ?? typeof value, message: 'not an error' }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= longestMessage
}

function isCode(value: unknown): value is string {
  return typeof value === 'string' && codeFormat.test(value)
}

function redactMessage({ name, message }: Error): string {
  // JSON.parse quotes the text that it could not read, and that is a token response as often as not.
  return name === 'SyntaxError' ? message.slice(0, longestMessage).replace(/["'`].*/su, '[redacted]') : redact(message)
}

function redact(text: string): string {
  return (
    text
      .slice(0, longestMessage)
      // Quoted text, unless it reads like the name of a parameter.
      .replace(/"[^"]*(?:"|$)/g, (quoted) => (/^"[a-z_]{1,40}"$/.test(quoted) ? quoted : '"[redacted]"'))
      // Query, fragment and user information of URLs.
      .replace(/[?#][^\s"]*/g, '?[redacted]')
      .replace(/\/\/[^\s/@]*@/g, '//[redacted]@')
      // Anything long and dense enough to be a token, a code or a key, with all that hangs on it.
      .replace(/(?:[\w+%~-]+[./])*[\w+%~-]{20,}(?:[./=][\w+%~-]*)*/g, (dense) =>
        /^E[A-Z_]{1,59}$/.test(dense) ? dense : '[redacted]',
      )
  )
}

/** The frames without the first lines, which repeat the message. */
function stackFrames(stack: string, message: string): string {
  const frames =
    message !== '' && stack.includes(message) ? stack.slice(stack.indexOf(message) + message.length) : stack
  return frames
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, 12)
    .join('\n')
}
