import type { IncomingMessage } from 'node:http'

const mostBytes = 16 * 1024

/** A body that cannot be read as JSON. */
export class BodyError extends Error {
  override readonly name = 'BodyError'
  readonly status: 400 | 413 | 415
  readonly code: 'invalid_request' | 'payload_too_large' | 'unsupported_media_type'

  constructor(status: 400 | 413 | 415, code: BodyError['code'], message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** @throws BodyError */
export async function readJson(req: IncomingMessage): Promise<unknown> {
  const text = await readText(req, 'application/json')
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new BodyError(400, 'invalid_request', 'The body is not JSON.')
  }
}

/** @throws BodyError */
export async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  return new URLSearchParams(await readText(req, 'application/x-www-form-urlencoded'))
}

async function readText(req: IncomingMessage, type: string): Promise<string> {
  const [given = ''] = (req.headers['content-type'] ?? '').split(';')
  if (given.trim().toLowerCase() !== type) throw new BodyError(415, 'unsupported_media_type', `Send ${type}.`)
  const chunks: Buffer[] = []
  let bytes = 0
  // What is left of a body that is too large must not take the answer's connection with it.
  const body = req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > mostBytes) throw new BodyError(413, 'payload_too_large', 'The body is too large.')
    chunks.push(chunk)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new BodyError(400, 'invalid_request', 'The body is not UTF-8.')
  }
}
