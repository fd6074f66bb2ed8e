import type { PurposeKey } from './key-ring.ts'
import type { SealedClaims } from './sealed-cookie.ts'

interface OpenedValue {
  readonly value: string
  readonly purposeKey: PurposeKey
  readonly claims: SealedClaims
}

/** Base64url characters of the tag, which end a sealed value. */
const tagLength = 22
/** Values that were seen once; a power of two. */
const seenSlots = 4096

/**
 * What sealed values held, by the values themselves: a browser sends the same cookie with every request until the next
 * refresh. Only what the right key opened gets in. Whether it has expired, belongs to the session or was ended, the caller
 * judges anew each time.
 *
 * A value gets in when it is seen for the second time, for keeping one costs about as much as it spares the next time
 * (measured: 5 µs of garbage collection). Two halves take the place of a list by last use: what is used moves to the young
 * half, and when that is full, the old half is forgotten.
 */
export class OpenedValues {
  readonly #maxCharactersOfHalf: number
  readonly #seen = new Uint32Array(seenSlots)
  #young = new Map<string, OpenedValue>()
  #old = new Map<string, OpenedValue>()
  #youngCharacters = 0

  /** @param maxCharacters Bound on the length of all values together. */
  constructor(maxCharacters: number) {
    this.#maxCharactersOfHalf = maxCharacters / 2
  }

  get(value: string, purposeKey: PurposeKey): SealedClaims | undefined {
    // As a key the tag is as good as the whole value, and much shorter to hash.
    const tag = value.slice(-tagLength)
    const young = this.#young.get(tag)
    const opened = young ?? this.#old.get(tag)
    if (opened === undefined || opened.value !== value || opened.purposeKey !== purposeKey) return undefined
    if (young === undefined) this.#keep(tag, opened)
    return opened.claims
  }

  add(value: string, purposeKey: PurposeKey, claims: SealedClaims): void {
    const tag = value.slice(-tagLength)
    const mark = fingerprint(tag)
    const slot = mark & (seenSlots - 1)
    if (this.#seen[slot] === mark) this.#keep(tag, { value, purposeKey, claims })
    else this.#seen[slot] = mark
  }

  /** Forgets everything, as when the keys change. */
  clear(): void {
    this.#seen.fill(0)
    this.#young = new Map()
    this.#old = new Map()
    this.#youngCharacters = 0
  }

  #keep(tag: string, opened: OpenedValue): void {
    if (this.#youngCharacters + opened.value.length > this.#maxCharactersOfHalf) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngCharacters = 0
    }
    this.#young.set(tag, opened)
    this.#youngCharacters += opened.value.length
  }
}

/** 32 bits of a tag. It is as good as random, so a few of its characters will do. */
function fingerprint(tag: string): number {
  let bits = 0
  for (let index = 0; index < 6; index++) bits = Math.imul(bits, 61) + tag.charCodeAt(index)
  return bits >>> 0
}
