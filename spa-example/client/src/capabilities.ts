import { abortable } from './abortable.ts'
import type { TokenHandlerClient } from './client.ts'
import { SessionEndedError } from './errors.ts'
import { navigableUrl } from './navigation.ts'
import { send, StorageError, storageProblem, type Sent, type UploadProgress } from './storage.ts'

export { StorageError, type Sent, type UploadProgress } from './storage.ts'

/** What the caller says about the object or the audience; the agent's configuration says what a capability takes. */
export type CapabilityInput = Readonly<Record<string, string | number | boolean>>

/** A short, narrow credential for something that is not behind the proxy. Whoever has it can use it: keep it nowhere. */
export interface Capability {
  /** `s3-presigned`, `s3-sts` or `jwt`. */
  readonly kind: string
  /** Where to send the request, of `s3-presigned`. */
  readonly url?: string
  readonly method?: string
  /** Headers that are part of the signature. */
  readonly headers: Readonly<Record<string, string>>
  /** Form fields of a presigned POST, to be sent before the file. */
  readonly fields?: Readonly<Record<string, string>>
  /** The token, of `jwt`; of `s3-sts` the credentials as the agent answers them. */
  readonly token?: unknown
  /** The agent's whole answer. */
  readonly answer: Readonly<Record<string, unknown>>
}

export interface UploadOptions {
  /** Added to what is said about the file: `file`, `content_type`, `content_length`. */
  readonly input?: CapabilityInput
  /** Default: the file's own, or `application/octet-stream`. */
  readonly contentType?: string
  /** Has the storage verify the bytes (SHA-256). Reads the whole file into memory first. Default false. */
  readonly checksum?: boolean
  readonly onProgress?: (progress: UploadProgress) => void
  readonly signal?: AbortSignal
  /** Longest silence of the connection, in milliseconds. Default 60000. */
  readonly stallMs?: number
}

export interface DownloadOptions {
  readonly signal?: AbortSignal
}

/** Capabilities of one client: in memory only, and never longer than the session. */
export interface Capabilities {
  /**
   * A credential that has at least a fifth of its life left. Equal calls share one, until it is renewed.
   * @throws SessionEndedError, StepUpRequiredError, TemporaryError, or TokenHandlerClientError with the agent's code
   */
  capability(name: string, input?: CapabilityInput): Promise<Capability>
  /**
   * Sends a file straight to the storage. A refusal that may come from age is repeated once with a new capability.
   * @returns the storage's answer: its status, and its `ETag` where its CORS rules expose it
   * @throws besides those of `capability`: StorageError, and the signal's reason when aborted
   */
  upload(name: string, file: Blob, options?: UploadOptions): Promise<Sent>
  /** Fetches an object straight from the storage; the body is not read yet. @throws as `upload` */
  download(name: string, input?: CapabilityInput, options?: DownloadOptions): Promise<Response>
  /** Forgets all capabilities, as the end of the session does by itself. */
  clear(): void
}

interface Kept {
  readonly promise: Promise<Capability>
  /** `performance.now()` from which it is not handed out any more. */
  renewAt: number
}

/** Share of a capability's life after which it is renewed. */
const LIFE_USED = 0.8

export function createCapabilities(client: TokenHandlerClient): Capabilities {
  const { store, call, activity } = client.internals
  const kept = new Map<string, Kept>()
  let generation = 0

  const clear = (): void => {
    generation += 1
    kept.clear()
  }
  store.subscribe(({ reason }) => {
    if (reason !== 'loaded' && reason !== 'updated') clear()
  })

  const issue = async (name: string, input: CapabilityInput, entry: Pick<Kept, 'renewAt'>): Promise<Capability> => {
    const issuedUnder = generation
    // Counted from before the question: the answer's seconds began somewhere between.
    const askedAt = performance.now()
    const body = new Blob([JSON.stringify(input)], { type: 'application/json' })
    const post = (): ReturnType<typeof call> => call(`capabilities/${encodeURIComponent(name)}`, body)
    const first = await post()
    // Refused for the session before; the same user has another one now.
    const answer = first === undefined && issuedUnder === generation ? await post() : first
    if (answer === undefined || issuedUnder !== generation) {
      throw new SessionEndedError('session_ended', 'The session changed while the capability was on its way.')
    }
    const life = answer['expires_in']
    entry.renewAt = askedAt + (typeof life === 'number' ? life * 1000 * LIFE_USED : 0)
    return parse(answer)
  }

  const take = (name: string, input: CapabilityInput = {}): { key: string; isNew: boolean; entry: Kept } => {
    activity.note()
    const key = JSON.stringify([name, input])
    for (const [old, { renewAt }] of kept) if (renewAt <= performance.now()) kept.delete(old)
    const known = kept.get(key)
    if (known !== undefined) return { key, isNew: false, entry: known }
    const life = { renewAt: Infinity }
    const entry: Kept = Object.assign(life, { promise: issue(name, input, life) })
    kept.set(key, entry)
    entry.promise.catch(() => {
      if (kept.get(key) === entry) kept.delete(key)
    })
    return { key, isNew: true, entry }
  }

  /** Uses a capability, and once more a new one when the storage may have refused it for its age. */
  const use = async <T>(
    name: string,
    input: CapabilityInput,
    signal: AbortSignal | undefined,
    work: (capability: Capability) => Promise<T>,
  ): Promise<T> => {
    signal?.throwIfAborted()
    const { key, isNew, entry } = take(name, input)
    const capability = await abortable(entry.promise, signal)
    try {
      return await work(capability)
    } catch (error) {
      const mayBeAge = error instanceof StorageError && error.status === 403 && (error.isExpired || !isNew)
      if (!mayBeAge) throw error
      if (kept.get(key) === entry) kept.delete(key)
      return work(await abortable(take(name, input).entry.promise, signal))
    }
  }

  return {
    capability: (name, input) => take(name, input).entry.promise,
    async upload(name, file, { input, contentType, checksum = false, onProgress, signal, stallMs = 60_000 } = {}) {
      const described: CapabilityInput = {
        ...(file instanceof File ? { file: file.name } : {}),
        content_type: contentType ?? (file.type || 'application/octet-stream'),
        content_length: file.size,
        ...(checksum ? { checksum_sha256: await sha256(file) } : {}),
        ...input,
      }
      return use(name, described, signal, (capability) => send(capability, file, { onProgress, signal, stallMs }))
    },
    download: (name, input = {}, { signal } = {}) =>
      use(name, input, signal, async ({ url = '', headers }) => {
        // No cookie and no referrer of ours has any business there.
        const init = { headers, credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store' } as const
        const response = await fetch(url, { ...init, ...(signal === undefined ? {} : { signal }) }).catch(
          (error: unknown) => {
            throw signal?.aborted === true ? error : storageProblem(0, '', error)
          },
        )
        if (!response.ok) throw storageProblem(response.status, await response.text())
        return response
      }),
    clear,
  }
}

function parse(answer: Readonly<Record<string, unknown>>): Capability {
  const { kind, url, method, fields, token, headers } = answer
  return {
    kind: String(kind),
    // It comes from our agent, but it is where a file goes.
    ...(url === undefined ? {} : { url: navigableUrl(url, new URL(location.href)) }),
    ...(typeof method === 'string' ? { method } : {}),
    ...(isTexts(fields) ? { fields } : {}),
    ...(token === undefined ? {} : { token }),
    headers: isTexts(headers) ? headers : {},
    answer,
  }
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string')
}

async function sha256(file: Blob): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer())
  return btoa(String.fromCharCode(...new Uint8Array(digest)))
}
