import {
  Agent,
  DecoratorHandler,
  EnvHttpProxyAgent,
  fetch,
  type Dispatcher,
  type RequestInit as UndiciRequestInit,
} from 'undici'

/** What a server answered, read to its end within limits. */
export interface BoundedAnswer {
  readonly status: number
  /** Media type without parameters, lower case; empty when there was none. */
  readonly mediaType: string
  readonly retryAfterSeconds: number | undefined
  /** When the server says that it answered (RFC 9110 section 6.6.1). */
  readonly date?: Date | undefined
  readonly text: string
}

/** A call that gave no answer. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError'
  /** `true` only when the request surely never left: everything else may have been processed. */
  readonly isUnsent: boolean

  constructor(message: string, options: { isUnsent: boolean; cause: unknown }) {
    super(message, { cause: options.cause })
    this.isUnsent = options.isUnsent
  }
}

/** Larger than any token answer, metadata or key set in use, and small enough to be read a thousand times at once. */
const maxBytes = 512 * 1024

/** A call, which may have a condition that counts at the last moment. */
export interface BoundedRequest extends Pick<RequestInit, 'method' | 'headers' | 'body' | 'signal'> {
  /**
   * Asked when there is a connection, right before the first byte leaves. A process may have been stopped for any time
   * since the call was made, and found its connection open when it went on.
   */
  readonly mayLeave?: (() => boolean) | undefined
}

const tooLate = 'ERR_TOO_LATE_TO_SEND'
/** Failures before the first byte of a request: no address, no route, no listener, no trusted certificate. */
const unsentCodes = new Set([
  tooLate,
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

/**
 * Fetches without following redirects, and reads the answer up to a size, whatever its length header or compression
 * says. Time is limited by the caller's signal, which covers the body too.
 * @throws UnansweredError
 */
export async function boundedFetch(url: string, { mayLeave, ...init }: BoundedRequest): Promise<BoundedAnswer> {
  let response: Awaited<ReturnType<typeof fetch>>
  try {
    response = await fetch(url, {
      ...(init as Pick<UndiciRequestInit, keyof typeof init>),
      redirect: 'manual',
      dispatcher: mayLeave === undefined ? connections : leavingIf(mayLeave),
    })
  } catch (cause) {
    throw new UnansweredError('the call failed', { isUnsent: isUnsent(cause), cause })
  }
  const date = new Date(response.headers.get('date') ?? '')
  return {
    status: response.status,
    mediaType: (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    retryAfterSeconds: retryAfter(response.headers.get('retry-after')),
    date: Number.isNaN(date.getTime()) ? undefined : date,
    text: await readText(response),
  }
}

// As Node's own fetch does.
const connections = process.env['NODE_USE_ENV_PROXY'] === '1' ? new EnvHttpProxyAgent() : new Agent()

function leavingIf(mayLeave: () => boolean): Dispatcher {
  return connections.compose((dispatch) => (options, handler) => dispatch(options, new Departure(handler, mayLeave)))
}

/** undici starts a request and writes it in one go. */
class Departure extends DecoratorHandler {
  readonly #mayLeave: () => boolean

  constructor(handler: Dispatcher.DispatchHandler, mayLeave: () => boolean) {
    super(handler)
    this.#mayLeave = mayLeave
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    // Its types leave out what it has.
    const decorated: Dispatcher.DispatchHandler = DecoratorHandler.prototype
    if (this.#mayLeave()) decorated.onRequestStart?.call(this, controller, context)
    else controller.abort(Object.assign(new Error('it is too late to send it'), { code: tooLate }))
  }
}

async function readText({ body }: Awaited<ReturnType<typeof fetch>>): Promise<string> {
  if (body === null) return ''
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  try {
    // Leaving the loop early cancels the stream, and with it the connection.
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      size += chunk.byteLength
      if (size > maxBytes) throw new RangeError(`the answer is larger than ${maxBytes} bytes`)
      text += decoder.decode(chunk, { stream: true })
    }
  } catch (cause) {
    throw new UnansweredError('the answer could not be read', { isUnsent: false, cause })
  }
  return text + decoder.decode()
}

function isUnsent(error: unknown): boolean {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 4; depth++) {
    const { code, cause, errors } = at as { code?: unknown; cause?: unknown; errors?: unknown }
    if (typeof code === 'string' && unsentCodes.has(code)) return true
    // Several addresses were tried: unsent only if none was reached.
    if (Array.isArray(errors)) return errors.length > 0 && errors.every((one) => isUnsent(one))
    at = cause
  }
  return false
}

function retryAfter(value: string | null): number | undefined {
  const seconds = value !== null && /^\d{1,9}$/.test(value) ? Number(value) : undefined
  return seconds === undefined ? undefined : Math.min(seconds, 60)
}
