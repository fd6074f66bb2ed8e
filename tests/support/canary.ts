import { randomBytes } from 'node:crypto'

/** A secret that was found where it must not be. The secret itself is not in here: reports may be public. */
export interface Leak {
  /** The name under which the secret was registered. */
  label: string
  /** How it was hidden: `plain`, or the decodings from the outside in, such as `base64 > url`. */
  encoding: string
}

/** Anything that can be searched: text, bytes, headers, or values that hold such. */
export type Searchable = unknown

const MAX_DEPTH = 3
const MIN_SECRET_LENGTH = 6

/**
 * The secrets of one test, and the search for them in what an outsider may see.
 *
 * Found are plain occurrences, and those under up to three layers of percent, JSON, base64, base64url and hex encoding,
 * at any alignment and inside longer texts. Of a JWT the payload and the signature count alone, too.
 */
export class Canaries {
  readonly #secrets = new Map<string, string>()

  /** Makes a new secret that is easy to recognise, for example as client secret or password. */
  mark(label: string): string {
    return this.watch(label, `canary-${label}-${randomBytes(12).toString('hex')}`)
  }

  /**
   * Registers a secret that others made, for example a token.
   * @returns The secret.
   * @throws RangeError when it is so short that it would be found by accident.
   */
  watch(label: string, secret: string): string {
    if (secret.length < MIN_SECRET_LENGTH) throw new RangeError(`${label} is too short to be looked for`)
    this.#secrets.set(secret, label)
    const [, payload, signature, ...rest] = secret.split('.')
    if (payload && signature && rest.length === 0) {
      this.#secrets.set(payload, `${label} (payload)`)
      this.#secrets.set(signature, `${label} (signature)`)
    }
    return secret
  }

  /**
   * Looks for all registered secrets.
   * @returns The places; empty when none was found.
   * @throws TypeError for a place whose content cannot be seen yet: a Response, a Request, a Promise.
   */
  find(...places: Searchable[]): Leak[] {
    const leaks = new Map<string, Leak>()
    for (const text of places.flatMap(textsOf)) this.#search(text, [], leaks)
    return [...leaks.values()]
  }

  #search(text: string, encodings: readonly string[], leaks: Map<string, Leak>): void {
    for (const [secret, label] of this.#secrets) {
      if (text.includes(secret) && !leaks.has(label)) {
        leaks.set(label, { label, encoding: encodings.length === 0 ? 'plain' : encodings.join(' > ') })
      }
    }
    if (encodings.length === MAX_DEPTH) return
    for (const [encoding, decoded] of decodings(text)) this.#search(decoded, [...encodings, encoding], leaks)
  }
}

/**
 * Signed JWTs in a text: three base64url parts of which the first decodes to a header with `alg`. Sealed cookies have
 * five parts and are none.
 */
export function findJwts(...places: Searchable[]): string[] {
  const shape = /(?<![\w.-])[\w-]{10,}\.[\w-]{2,}\.[\w-]*(?![\w.-])/g
  return places.flatMap(textsOf).flatMap((text) => (text.match(shape) ?? []).filter(hasJwtHeader))
}

function hasJwtHeader(candidate: string): boolean {
  try {
    const header: unknown = JSON.parse(Buffer.from(candidate.split('.')[0] ?? '', 'base64url').toString())
    return typeof header === 'object' && header !== null && 'alg' in header
  } catch {
    return false
  }
}

function textsOf(place: Searchable): string[] {
  if (typeof place === 'string') return [place]
  if (place === null || place === undefined) return []
  if (place instanceof Uint8Array) return [Buffer.from(place).toString('latin1')]
  if (typeof place === 'number' || typeof place === 'bigint') return [place.toString()]
  if (typeof place !== 'object') return []
  if (place instanceof Response || place instanceof Request || place instanceof Promise)
    throw new TypeError('read it first: its headers and body cannot be searched')
  if (Symbol.iterator in place) return [...(place as Iterable<unknown>)].flatMap(textsOf)
  if (place instanceof Error)
    return [place.message, place.stack ?? '', ...textsOf(place.cause), ...Object.values(place).flatMap(textsOf)]
  return Object.entries(place).flatMap(([name, value]) => [name, ...textsOf(value)])
}

function* decodings(text: string): Generator<[string, string]> {
  if (/%[\da-f]{2}/i.test(text)) yield ['url', text.replace(/%([\da-f]{2})/gi, (_, hex: string) => fromHex(hex))]
  if (/\\[u"\\/bfnrt]/.test(text)) {
    yield [
      'json',
      text
        .replace(/\\u([\da-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
        .replace(/\\(["\\/])/g, '$1'),
    ]
  }
  const hex = text.match(/(?:[\da-f]{2}){6,}/gi)
  if (hex !== null) yield ['hex', hex.map(fromHex).join('\n')]
  const runs = text.match(/[\w+/-]{8,}/g) ?? []
  // A secret inside a longer encoded text may start at any of the four positions of a group. The runs stay one text: a
  // text for each would take minutes.
  for (let start = 0; start < 4 && runs.length > 0; start++) {
    yield ['base64', runs.map((run) => Buffer.from(run.slice(start), 'base64').toString('latin1')).join('\n')]
  }
}

function fromHex(digits: string): string {
  return Buffer.from(digits, 'hex').toString('latin1')
}
