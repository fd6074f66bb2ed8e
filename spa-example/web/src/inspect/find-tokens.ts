/** Something that looks like a token, and where its text begins; never the whole of it. */
export interface Suspect {
  readonly kind: 'JWT' | 'JWE' | 'opaque'
  readonly start: string
}

/** A JOSE header is base64url of `{"`; three parts are signed (RFC 7515), five encrypted (RFC 7516). */
const JOSE = /eyJ[\w-]{8,}(?:\.[\w-]*){2,4}/g

/** Words of base64url, base64 or hex that are long enough to be a credential: 40 characters carry 160 bits and more. */
const WORDS = /[\w+/=-]{40,}/g

/** Words of this shape name things and open nothing: UUIDs, trace ids (W3C Trace Context), runs of dashes. */
const NAMES = /^(?:[\da-f]+-)+[\da-f]+$|^[a-z_/=+-]+$/i

/** Bits a character; random base64url has about 5 at this length, hex 4 and prose with paths below. */
const LEAST_ENTROPY = 3.5

/** All that looks like a token in a text. Rather one too many than one too few. */
export function findTokens(text: string): Suspect[] {
  const suspects: Suspect[] = []
  const rest = text.replace(JOSE, (token) => {
    suspects.push({ kind: token.split('.').length === 5 ? 'JWE' : 'JWT', start: abbreviate(token) })
    return ' '
  })
  for (const [word] of rest.matchAll(WORDS)) {
    const isRandom = /\d/.test(word) && entropy(word) >= LEAST_ENTROPY && !NAMES.test(word) && !isPath(word)
    if (isRandom) suspects.push({ kind: 'opaque', start: abbreviate(word) })
  }
  return suspects
}

/** Slashes in base64 are rare and stand between long runs; in a path the pieces are short. */
function isPath(word: string): boolean {
  return word.includes('/') && word.split('/').every((piece) => piece.length < 24)
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
