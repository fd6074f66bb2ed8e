import type { IncomingMessage } from 'node:http'

/** A request target in origin form (RFC 9112 section 3.2.1). What is judged here is, byte for byte, what is sent on. */
export interface RequestTarget {
  readonly path: string
  /** The query with its question mark, or the empty string. It has no say in which route it is. */
  readonly query: string
}

/** Longer targets are answered 414. */
export const maxTargetLength = 8192

const refused = 0
const plain = 1
const slash = 2
const dot = 3
const percent = 4
const question = 5

/** What each ASCII character may be in a path: `pchar` of RFC 3986 section 3.3 without `;`. */
const classes = new Uint8Array(128)
for (const character of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~!$&'()*+,=:@") {
  classes[character.charCodeAt(0)] = plain
}
classes['/'.charCodeAt(0)] = slash
classes['.'.charCodeAt(0)] = dot
classes['%'.charCodeAt(0)] = percent
classes['?'.charCodeAt(0)] = question

const notInQuery = /[^\x21-\x7e]|#/
const absoluteForm = /^https?:\/\/([^/?#\\@]+)(?=[/?]|$)/i

/**
 * Reads a request target that has exactly one meaning for every server that may read it next, or returns `undefined`.
 *
 * Refused are: dot segments and their encoded forms, empty segments, backslashes, `;` parameters (some servers cut them
 * off before they compare paths), `#`, control characters, escapes that are broken, overlong or double, escapes of
 * characters that need none (`%61dmin` is `admin` to the API and something else to us), segments of nothing but dots and
 * spaces, letters outside ASCII that a normalising server turns into one of those, and any form but the origin form. The
 * absolute form is reduced to it when it names the public host (RFC 9112 section 3.2.2).
 * @param publicHost Host and port of the public origin, lower case.
 */
export function parseRequestTarget(target: string, publicHost: string): RequestTarget | undefined {
  const originForm = target.charCodeAt(0) === 0x2f ? target : reduceAbsoluteForm(target, publicHost)
  if (originForm === undefined) return undefined
  const end = pathEnd(originForm)
  if (end === -1) return undefined
  if (end === originForm.length) return { path: originForm, query: '' }
  const query = originForm.slice(end)
  return notInQuery.test(query) ? undefined : { path: originForm.slice(0, end), query }
}

function reduceAbsoluteForm(target: string, publicHost: string): string | undefined {
  const match = absoluteForm.exec(target)
  if (match?.[1]?.toLowerCase() !== publicHost) return undefined
  const rest = target.slice(match[0].length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** Where the path ends and the query begins, or -1 when the path is not canonical. One pass, no backtracking. */
function pathEnd(target: string): number {
  let isNotAscii = false
  let segmentStart = 1
  let onlyDotsAndSpaces = true
  let at = 1
  for (; at < target.length; at++) {
    const code = target.charCodeAt(at)
    const kind = code < 128 ? classes[code] : refused
    if (kind === plain) onlyDotsAndSpaces = false
    else if (kind === slash) {
      if (onlyDotsAndSpaces) return -1
      segmentStart = at + 1
      onlyDotsAndSpaces = true
    } else if (kind === percent) {
      const byte = escapedByte(target, at)
      if (byte === -1) return -1
      if (byte !== 0x20) onlyDotsAndSpaces = false
      if (byte >= 0x80) isNotAscii = true
      at += 2
    } else if (kind === question) break
    else if (kind === refused) return -1
  }
  // One slash at the end is a path of its own, not an empty segment before another.
  if (onlyDotsAndSpaces && at > segmentStart) return -1
  return isNotAscii && !isPlainUnicode(target.slice(0, at)) ? -1 : at
}

/** The byte that the escape at `at` stands for, or -1 when it is broken or stands for what must not be escaped. */
function escapedByte(target: string, at: number): number {
  const byte = hexByte(target, at + 1)
  if (byte < 0x20 || byte === 0x7f) return -1
  if (byte === 0x25) return hexByte(target, at + 3) === -1 ? byte : -1
  if (byte >= 0x80) return byte
  const character = String.fromCharCode(byte)
  return neverEscaped.has(character) ? -1 : byte
}

/** Unreserved characters (RFC 3986 section 2.3) and those that would make another path once a server decodes them. */
const neverEscaped = new Set('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/\\;')

function hexByte(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at))
  const low = hexDigit(text.charCodeAt(at + 1))
  return high === -1 || low === -1 ? -1 : high * 16 + low
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/** C1 controls, and look-alikes of slash and backslash that compatibility normalisation leaves but code pages map. */
const dangerous = /[\u0080-\u009f\u2044\u2215\u2216\u29f5\u29f8\u29f9]/
const onlyDotsOrSpaces = /^[. ]+$/
const structure = /[/\\%?#;]|\p{Cc}/gu

/** Whether escaped letters are well-formed UTF-8 and stay letters under compatibility normalisation (Unicode annex 15). */
function isPlainUnicode(path: string): boolean {
  let decoded: string
  try {
    decoded = decodeURIComponent(path)
  } catch {
    return false
  }
  if (dangerous.test(decoded)) return false
  const normalized = decoded.normalize('NFKC')
  if (normalized.match(structure)?.length !== decoded.match(structure)?.length) return false
  return normalized.split('/').every((segment, index, all) => {
    const isEnd = index === 0 || index === all.length - 1
    return segment === '' ? isEnd : !onlyDotsOrSpaces.test(segment)
  })
}

/** The target as it came: Express takes the path that a middleware is mounted on off `url`. */
export function targetOf(req: IncomingMessage & { originalUrl?: string }): string {
  return req.originalUrl ?? req.url ?? ''
}
