import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from 'node:crypto'
import type { Clock } from './clock.ts'
import type { KeyRing, Purpose, PurposeKey } from './key-ring.ts'
import { exposeCounter, Registry, type Sample } from './metrics.ts'
import { OpenedValues } from './opened-values.ts'

/** Why a sealed value was not opened. Callers tell the browser none of this. */
export type RefusalReason = 'unknown_key' | 'damaged' | 'wrong_purpose' | 'expired' | 'not_yet_valid'

export type Opened<Claims> =
  | { readonly ok: true; readonly claims: Claims; /** The key that sealed it. */ readonly kid: string }
  | { readonly ok: false; readonly reason: RefusalReason }

/** What every sealed value carries besides its own claims. */
export interface SealedClaims {
  /** Seconds since 1970 after which the value is refused, whatever the cookie's Max-Age said. */
  readonly exp: number
  /**
   * Seconds since 1970 when it was sealed; refused where that is more than {@link toleratedAheadSeconds} ahead. For values
   * whose life must not grow when a clock is set back; values without it are as old as they may be.
   */
  readonly iat?: number
}

/** Seals and opens cookie values: JWE compact serialization (RFC 7516 section 3.1), `dir` and `A256GCM`. */
export interface CookieSealer {
  /** @throws Error when this deployment was not given the key of that purpose. */
  seal(purpose: Purpose, claims: SealedClaims): string
  /** Opens `value`; never throws, and never looks at the content before the tag was verified. */
  open<Claims extends SealedClaims>(purpose: Purpose, value: string): Opened<Claims>
}

/** How far the clocks of two processes may be apart. */
export const toleratedAheadSeconds = 60

const ivBytes = 12
const tagBytes = 16
const gcmOptions = { authTagLength: tagBytes }
// What is decoded is used up before the next value's turn, so that one place for each part will do.
const decodedIv = Buffer.alloc(ivBytes)
const decodedTag = Buffer.alloc(tagBytes)
const decodedCiphertext = Buffer.alloc(16_384)
const ivLength = 16
const tagLength = 22
/** `kid` is at most 16 characters, which makes the protected header at most 108; anything longer is not ours. */
const maxHeaderLength = 128
/** Access cookies that are remembered opened, all together: those of some 6,000 sessions with tokens of 900 bytes. */
const rememberedCharacters = 8_000_000
const typePrefix = 'th1-'
/** The protected header of what is sealed under a key that has one use only. */
const bareHeader = Buffer.from('{"alg":"dir","enc":"A256GCM"}').toString('base64url')

/** A protected header that names a key of the ring, and its bytes, which the tag covers as well. */
interface KnownHeader {
  readonly purposeKey: PurposeKey
  readonly bytes: Buffer
}

/**
 * @param keyRing Asked on every call, so that a reloaded ring takes effect at once.
 * @param registry Where metrics are registered; one of its own unless given.
 */
export function createCookieSealer(
  keyRing: () => KeyRing,
  clock: Clock,
  registry: Registry = new Registry(),
): CookieSealer {
  let ring = keyRing()
  // The protected header is the same text for every value of one key and purpose: parse it once, then look it up.
  let headers = new Map<string, KnownHeader>()
  const opened = new OpenedValues(rememberedCharacters)
  const counts = exposeCounts(registry)

  function current(): KeyRing {
    const latest = keyRing()
    if (latest !== ring) {
      ring = latest
      headers = new Map()
      opened.clear()
    }
    return ring
  }

  function knownHeader(purpose: Purpose, value: string): KnownHeader | RefusalReason {
    const end = value.indexOf('.')
    if (end < 1 || end > maxHeaderLength) return 'damaged'
    const keys = current()
    const text = value.slice(0, end)
    let known = headers.get(text)
    if (known === undefined) {
      const parsed = parseHeader(text)
      if (parsed === undefined) return 'damaged'
      if (parsed.purpose !== purpose) return 'wrong_purpose'
      const purposeKey = keys.openingKey(purpose, parsed.kid)
      if (purposeKey === undefined) return 'unknown_key'
      known = { purposeKey, bytes: Buffer.from(text, 'ascii') }
      if (headers.size < 64) headers.set(text, known)
    }
    return known
  }

  return {
    seal(purpose, claims) {
      const purposeKey = current().sealingKey(purpose)
      if (purposeKey === undefined) throw new Error(`no active key for the purpose ${purpose}`)
      const { kid, key } = purposeKey
      counts.sealed.set(kid, (counts.sealed.get(kid) ?? 0) + 1)
      return encryptCompact(protectedHeader(purposeKey), key, JSON.stringify(claims))
    },
    open<Claims extends SealedClaims>(purpose: Purpose, value: string): Opened<Claims> {
      const known = knownHeader(purpose, value)
      if (typeof known === 'string') return { ok: false, reason: known }
      if (known.purposeKey.purpose !== purpose) return { ok: false, reason: 'wrong_purpose' }
      let claims = opened.get(value, known.purposeKey)
      if (claims === undefined) {
        claims = decryptCompact(known.bytes, value, known.purposeKey.key)
        counts.decrypted++
        if (claims === undefined) return { ok: false, reason: 'damaged' }
        // No other purpose comes with every request.
        if (purpose === 'access-token') opened.add(value, known.purposeKey, claims)
      } else counts.remembered++
      const now = clock.now()
      if (typeof claims.exp !== 'number' || claims.exp * 1000 <= now) return { ok: false, reason: 'expired' }
      if (claims.iat !== undefined && (claims.iat - toleratedAheadSeconds) * 1000 > now) {
        return { ok: false, reason: 'not_yet_valid' }
      }
      return { ok: true, claims: claims as Claims, kid: known.purposeKey.kid }
    },
  }
}

interface Counts {
  /** Values that were opened with a key. */
  decrypted: number
  /** Values whose content was remembered. */
  remembered: number
  readonly sealed: Map<string, number>
}

function exposeCounts(registry: Registry): Counts {
  const counts: Counts = { decrypted: 0, remembered: 0, sealed: new Map() }
  exposeCounter(registry, {
    name: 'token_handler_cookies_opened_total',
    help: 'Sealed values that were opened: with a key (decrypted), or known from the request before (remembered).',
    labelNames: ['how'],
    read: () => [
      [{ how: 'decrypted' }, counts.decrypted],
      [{ how: 'remembered' }, counts.remembered],
    ],
  })
  exposeCounter(registry, {
    name: 'token_handler_values_sealed_total',
    help: 'Values sealed under the keys that come from one master key, by this process.',
    labelNames: ['kid'],
    *read(): Iterable<Sample<'kid'>> {
      for (const [kid, count] of counts.sealed) yield [{ kid }, count]
    },
  })
  return counts
}

/**
 * Seals text under a raw key for a holder of that key alone, such as the successor of a session's cookies under the key
 * that the cookies before it hold.
 */
export function sealUnder(key: KeyObject, text: string): string {
  return encryptCompact(bareHeader, key, text)
}

/** Opens what {@link sealUnder} made, or returns `undefined`. */
export function openUnder(key: KeyObject, value: string): string | undefined {
  if (!value.startsWith(`${bareHeader}.`)) return undefined
  return decryptText(Buffer.from(bareHeader, 'ascii'), value, key)
}

/** The key that a value of ours was sealed under, as its header says; nothing is opened. */
export function sealingKid(value: string): string | undefined {
  return parseHeader(value.slice(0, Math.max(0, value.indexOf('.'))))?.kid
}

function protectedHeader({ kid, purpose }: PurposeKey): string {
  const header = { alg: 'dir', enc: 'A256GCM', kid, typ: typePrefix + purpose }
  return Buffer.from(JSON.stringify(header)).toString('base64url')
}

function parseHeader(encoded: string): { kid: string; purpose: string } | undefined {
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.toString('base64url') !== encoded) return undefined
  let header: Record<string, unknown>
  try {
    header = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
  } catch {
    return undefined
  }
  // Exactly these four members: no `zip`, `crit`, `jwk` or any other that would ask for work (RFC 8725 section 3.1).
  if (typeof header !== 'object' || header === null || Object.keys(header).length !== 4) return undefined
  const { alg, enc, kid, typ } = header
  if (alg !== 'dir' || enc !== 'A256GCM' || typeof kid !== 'string' || typeof typ !== 'string') return undefined
  if (!typ.startsWith(typePrefix)) return undefined
  return { kid, purpose: typ.slice(typePrefix.length) }
}

function encryptCompact(header: string, key: KeyObject, text: string): string {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', key, iv, gcmOptions)
  cipher.setAAD(Buffer.from(header, 'ascii'))
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  const parts = [iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'))
  return `${header}..${parts.join('.')}`
}

function decryptCompact(header: Buffer, value: string, key: KeyObject): SealedClaims | undefined {
  const text = decryptText(header, value, key)
  if (text === undefined) return undefined
  try {
    const claims = JSON.parse(text) as SealedClaims | null
    return typeof claims === 'object' && claims !== null ? claims : undefined
  } catch {
    return undefined
  }
}

/**
 * Synchronous on purpose: WebCrypto costs ten times as much a request (docs/decisions/0002).
 * @param header The bytes of the protected header, with which the value begins.
 */
function decryptText(header: Buffer, value: string, key: KeyObject): string | undefined {
  // header . (empty encrypted key) . iv . ciphertext . tag
  const ivStart = header.length + 2
  const ciphertextStart = ivStart + ivLength + 1
  const tagStart = value.length - tagLength
  if (tagStart - 1 < ciphertextStart || value[ivStart - 1] !== '.') return undefined
  if (value[ciphertextStart - 1] !== '.' || value[tagStart - 1] !== '.') return undefined
  if (!isBase64url(value)) return undefined
  if (decode(value.slice(ivStart, ivStart + ivLength), decodedIv) !== ivBytes) return undefined
  if (decode(value.slice(tagStart), decodedTag) !== tagBytes) return undefined
  const ciphertext = value.slice(ciphertextStart, tagStart - 1)
  const into = ciphertext.length > decodedCiphertext.length ? Buffer.alloc(ciphertext.length) : decodedCiphertext
  const length = decode(ciphertext, into)
  if (length === undefined) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, decodedIv, gcmOptions)
  decipher.setAAD(header)
  decipher.setAuthTag(decodedTag)
  const start = decipher.update(into.subarray(0, length))
  try {
    const end = decipher.final()
    return end.length === 0 ? start.toString('utf8') : Buffer.concat([start, end]).toString('utf8')
  } catch {
    return undefined
  }
}

/** Last characters of a text whose length is 2 or 3 more than a multiple of 4: those that leave no bit over. */
const lastOfTwo = 'AQgw'
const lastOfThree = 'AEIMQUYcgkosw048'

/**
 * Decodes one part, of which {@link isBase64url} holds, if this is the only spelling of its bytes.
 * @returns How many there are.
 */
function decode(text: string, into: Buffer): number | undefined {
  const length = into.write(text, 'base64url')
  const rest = text.length % 4
  // Junk is skipped by Node's decoder, and missing from the length then.
  if (rest === 1 || length !== Math.floor((text.length * 3) / 4)) return undefined
  const last = text.charAt(text.length - 1)
  if ((rest === 2 && !lastOfTwo.includes(last)) || (rest === 3 && !lastOfThree.includes(last))) return undefined
  return length
}

/**
 * Whether none of those characters is in there that Node's decoder takes for others: the other alphabet, and beyond ASCII
 * what shares its low byte with one of ours. We accept exactly one spelling (RFC 4648 section 3.5). Together with
 * {@link decode} this does what encoding again and comparing does, for 1 µs less a request, 2 µs with 3.5 KB.
 */
function isBase64url(text: string): boolean {
  return !text.includes('+') && !text.includes('/') && Buffer.byteLength(text) === text.length
}
