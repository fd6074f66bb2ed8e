/** Name as it came, and value. */
export type HeaderLine = readonly [name: string, value: string]

export function headLines(message: string): string[] {
  return message.slice(0, message.indexOf('\r\n\r\n')).split('\r\n')
}

export function headerList(lines: readonly string[]): HeaderLine[] {
  return lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).trim()]
  })
}

function valueOf(message: string, name: string): string | undefined {
  const [, ...lines] = headLines(message)
  return headerList(lines).find(([found]) => found.toLowerCase() === name)?.[1]
}

/**
 * Where the first message in some bytes ends, by its own framing (RFC 9112 section 6.3); `undefined` while it goes on.
 * @param hasNoBody The message has none whatever its headers say: an answer to HEAD, or 1xx, 204 and 304.
 * @param untilClose Without framing it lasts until the connection ends: an answer rather than a request.
 */
export function findMessageEnd(
  bytes: string,
  { hasNoBody = false, untilClose = false }: { hasNoBody?: boolean; untilClose?: boolean } = {},
): number | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const start = headEnd + 4
  if (hasNoBody) return start
  if (valueOf(bytes, 'transfer-encoding')?.toLowerCase().includes('chunked') === true) return chunksEnd(bytes, start)
  const length = valueOf(bytes, 'content-length')
  if (length === undefined) return untilClose ? undefined : start
  const end = start + Number(length)
  return bytes.length >= end ? end : undefined
}

function chunksEnd(bytes: string, start: number): number | undefined {
  let at = start
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.slice(at, lineEnd), 16)
    if (size === 0) {
      if (bytes.startsWith('\r\n', lineEnd + 2)) return lineEnd + 4
      const trailersEnd = bytes.indexOf('\r\n\r\n', lineEnd)
      return trailersEnd === -1 ? undefined : trailersEnd + 4
    }
    at = lineEnd + 2 + size + 2
    if (at > bytes.length) return undefined
  }
}

/** The content of a chunked body. */
export function dechunk(body: string): string {
  let content = ''
  let at = 0
  for (;;) {
    const lineEnd = body.indexOf('\r\n', at)
    if (lineEnd === -1) return content
    const size = Number.parseInt(body.slice(at, lineEnd), 16)
    if (!(size > 0)) return content
    content += body.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}
