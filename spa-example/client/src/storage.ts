import { TokenHandlerClientError, type ErrorDetails } from './errors.ts'

/** How far an upload has come. */
export interface UploadProgress {
  readonly sentBytes: number
  /** The form around a file of a presigned POST counts too. */
  readonly totalBytes: number
}

/** The storage's answer to an upload. */
export interface Sent {
  readonly status: number
  /** Null unless the storage's CORS rules expose it. */
  readonly etag: string | null
}

/**
 * The storage said no, or nothing. Codes: `storage_unreachable` (no answer: network, CORS rules of the bucket, or
 * `connect-src` of the page), `storage_stalled`, `storage_busy` (429 and 5xx), `storage_refused` (all else).
 */
export class StorageError extends TokenHandlerClientError {
  override name = 'StorageError'
  /** The storage's own code, such as `EntityTooLarge`, where it answered the XML of S3. */
  readonly storageCode?: string
  /** The storage says that the capability is over. */
  readonly isExpired: boolean

  constructor(code: string, message: string, body: string, details: ErrorDetails) {
    super(code, message, details)
    const [, storageCode] = /<Code>(\w+)<\/Code>/.exec(body) ?? []
    if (storageCode !== undefined) this.storageCode = storageCode
    this.isExpired = /expired/i.test(body)
  }
}

/** @param status 0 when there was no answer */
export function storageProblem(status: number, body: string, cause?: unknown): StorageError {
  if (status === 0) {
    return new StorageError('storage_unreachable', 'The storage did not answer, or not to this page.', '', { cause })
  }
  const code = status === 429 || status >= 500 ? 'storage_busy' : 'storage_refused'
  return new StorageError(code, `The storage answered ${status}.`, body, { status })
}

interface Target {
  readonly url?: string
  readonly method?: string
  readonly headers: Readonly<Record<string, string>>
  readonly fields?: Readonly<Record<string, string>>
}

interface SendOptions {
  readonly onProgress: ((progress: UploadProgress) => void) | undefined
  readonly signal: AbortSignal | undefined
  readonly stallMs: number
}

/** Headers that script may not set; the browser sets them itself, and to the same values. */
const FORBIDDEN = ['host', 'content-length']

/** PUTs a file, or POSTs it in a form. By XMLHttpRequest, for `fetch` tells nothing of an upload's progress. */
export function send(target: Target, file: Blob, { onProgress, signal, stallMs }: SendOptions): Promise<Sent> {
  const { url = '', fields, headers } = target
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const request = new XMLHttpRequest()
    let stalled: ReturnType<typeof setTimeout> | undefined
    const alive = (): void => {
      clearTimeout(stalled)
      stalled = setTimeout(() => {
        reject(new StorageError('storage_stalled', 'The upload came to a halt.', '', {}))
        request.abort()
      }, stallMs)
    }
    const abort = (): void => {
      reject(signal?.reason)
      request.abort()
    }
    signal?.addEventListener('abort', abort)
    request.upload.addEventListener('progress', ({ loaded, total }) => {
      alive()
      onProgress?.({ sentBytes: loaded, totalBytes: total })
    })
    request.addEventListener('loadend', () => {
      clearTimeout(stalled)
      signal?.removeEventListener('abort', abort)
      const { status } = request
      if (status < 200 || status > 299) reject(storageProblem(status, request.responseText))
      // Asked for by name, a header that CORS hides is an error in the console.
      else resolve({ status, etag: /^etag: *(.*)\r$/im.exec(request.getAllResponseHeaders())?.[1] ?? null })
    })
    request.open(target.method ?? 'PUT', url)
    for (const [name, value] of Object.entries(headers)) {
      if (!FORBIDDEN.includes(name.toLowerCase())) request.setRequestHeader(name, value)
    }
    alive()
    request.send(fields === undefined ? file : formOf(fields, file))
  })
}

/** The file last: S3 ignores what follows it. */
function formOf(fields: Readonly<Record<string, string>>, file: Blob): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', file)
  return form
}
