/** Something that looks like a token, and where its text begins; never the whole of it. */
export interface Suspect {
  readonly kind: 'JWT' | 'JWE' | 'opaque' | 'capability'
  readonly start: string
}

/** A JOSE header is base64url of `{"`; three parts are signed (RFC 7515), five encrypted (RFC 7516). */
const JOSE = /eyJ[\w-]{8,}(?:\.[\w-]*){2,4}/g

/** A presigned URL of S3: a credential too, for one object and a short while, and meant for script. */
const PRESIGNED = /https?:[^\s"'<>]*[?&]X-Amz-Signature=[\da-f]{64}[^\s"'<>]*/g

/** Words of base64url, base64 or hex that are long enough to be a credential: 40 characters carry 160 bits and more. */
const WORDS = /[\w+/=-]{40,}/g

/** Words of these shapes name things and open nothing: UUIDs and trace ids, headers and the like, paths. */
const NAMES = [/^(?:[\da-f]+-)+[\da-f]+$/i, /^[a-z_/=+-]+$/, /^[^A-Z]*\/[^A-Z]*$/]

/** Bits a character; random base64url has about 5 at this length, hex 4 and prose with paths below. */
const LEAST_ENTROPY = 3.2

/** All that looks like a token in a text. Rather one too many than one too few. */
export function findTokens(text: string): Suspect[] {
  const suspects: Suspect[] = []
  const rest = text.replace(JOSE, (token) => {
    suspects.push({ kind: token.split('.').length === 5 ? 'JWE' : 'JWT', start: abbreviate(token) })
    return ' '
  })
  const beyond = rest.replace(PRESIGNED, (url) => {
    suspects.push({ kind: 'capability', start: abbreviate(url.split('?', 1)[0]?.split('/').at(-1) ?? '') })
    return ' '
  })
  for (const [word] of beyond.matchAll(WORDS)) {
    const isRandom = entropy(word) >= LEAST_ENTROPY && !NAMES.some((name) => name.test(word))
    if (isRandom) suspects.push({ kind: 'opaque', start: abbreviate(word) })
  }
  return suspects
}

/** Shannon entropy in bits a character. */
export function entropy(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length)
  return bits
}

function abbreviate(token: string): string {
  return `${token.slice(0, 6)}…`
}
