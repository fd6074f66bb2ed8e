/** A request that can be built again for a second send, if its body allows. */
export interface RepeatableRequest {
  readonly url: URL
  readonly signal: AbortSignal
  readonly isHead: boolean
  /** False when the body is a stream, which is gone after the first send. */
  readonly repeatable: boolean
  build(): Request
}

/**
 * Takes what `fetch` takes. Bodies are snapshots of the moment of the call: `Blob` and `File` by reference, whatever
 * their size; the body of a `Request` is read into a Blob, because it can be read only once.
 * @param headers Added to the request's own.
 */
export async function repeatableRequest(
  input: RequestInfo | URL,
  init: RequestInit | undefined,
  headers: Readonly<Record<string, string>>,
): Promise<RepeatableRequest> {
  const source = input instanceof Request ? input : undefined
  const given = init?.body ?? undefined
  const all = new Headers(init?.headers ?? source?.headers)
  for (const [name, value] of Object.entries(headers)) all.set(name, value)
  const options = { ...init, ...withBody(snapshotOf(given)), headers: all, credentials: 'include' } as const
  const first = new Request(input, options)
  const common = { url: new URL(first.url), signal: first.signal, isHead: first.method === 'HEAD' }
  if (given instanceof ReadableStream) return { ...common, repeatable: false, build: () => first }
  if (source === undefined || given !== undefined || ['GET', 'HEAD'].includes(first.method)) {
    return { ...common, repeatable: true, build: () => new Request(source ?? first.url, options) }
  }
  const withCopy = { body: await first.blob() }
  return { ...common, repeatable: true, build: () => new Request(first, withCopy) }
}

/** A copy of what the caller could change before the second send; null bodies stay absent. */
function snapshotOf(body: BodyInit | undefined): BodyInit | undefined {
  if (body instanceof URLSearchParams) return new URLSearchParams(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new Blob([body])
  if (!(body instanceof FormData)) return body
  const copy = new FormData()
  for (const [name, value] of body) {
    if (typeof value === 'string') copy.append(name, value)
    else copy.append(name, value, value.name)
  }
  return copy
}

function withBody(body: BodyInit | undefined): RequestInit {
  return body === undefined ? {} : { body }
}
