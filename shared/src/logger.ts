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
  readonly stack?: string
  readonly cause?: ErrorFields
}

const longestMessage = 300
/** Anything long and dense enough to be a token, a code or a key. */
const secretShapes = /[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]*)*/g
const oauthErrorCode = /^[\x20-\x21\x23-\x5B\x5D-\x7E]{1,60}$/

/** Describes an error for the log. Causes are followed three deep; bodies and responses that errors carry are left out. */
export function describeError(error: unknown, depth = 0): ErrorFields {
  if (!types.isNativeError(error)) return { type: typeof error, message: redact(String(error)) }
  const { code, error: oauthError, status } = error as { code?: unknown; error?: unknown; status?: unknown }
  return {
    type: error.name,
    message: redact(error.message),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof oauthError === 'string' && oauthErrorCode.test(oauthError) ? { oauthError } : {}),
    ...(typeof status === 'number' ? { status } : {}),
    ...(depth === 0 && error.stack !== undefined ? { stack: stackFrames(error.stack) } : {}),
    ...(error.cause !== undefined && depth < 3 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

function redact(text: string): string {
  return text.slice(0, longestMessage).replace(secretShapes, '[redacted]')
}

/** The frames without the first lines, which repeat the message. */
function stackFrames(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, 12)
    .join('\n')
}
