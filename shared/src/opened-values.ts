import type { PurposeKey } from './key-ring.ts'
import type { SealedClaims } from './sealed-cookie.ts'

interface OpenedValue {
  readonly value: string
  readonly purposeKey: PurposeKey
  readonly claims: SealedClaims
}

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
  #young = new Map<number, OpenedValue>()
  #old = new Map<number, OpenedValue>()
  #youngCharacters = 0

  /** @param maxCharacters Bound on the length of all values together. */
  constructor(maxCharacters: number) {
    this.#maxCharactersOfHalf = maxCharacters / 2
  }

  get(value: string, purposeKey: PurposeKey): SealedClaims | undefined {
    const mark = fingerprint(value)
    const young = this.#young.get(mark)
    const opened = young ?? this.#old.get(mark)
    if (opened === undefined || opened.value !== value || opened.purposeKey !== purposeKey) return undefined
    if (young === undefined) this.#keep(mark, opened)
    return opened.claims
  }

  add(value: string, purposeKey: PurposeKey, claims: SealedClaims): void {
    const mark = fingerprint(value)
    const slot = mark & (seenSlots - 1)
    if (this.#seen[slot] === mark) this.#keep(mark, { value, purposeKey, claims })
    else this.#seen[slot] = mark
  }

  /** Forgets everything, as when the keys change. */
  clear(): void {
    this.#seen.fill(0)
    this.#young = new Map()
    this.#old = new Map()
    this.#youngCharacters = 0
  }

  #keep(mark: number, opened: OpenedValue): void {
    if (this.#youngCharacters + opened.value.length > this.#maxCharactersOfHalf) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngCharacters = 0
    }
    this.#young.set(mark, opened)
    this.#youngCharacters += opened.value.length
  }
}

/** 30 bits of the value's tag, which is as good as random, so a few of its characters will do. */
function fingerprint(value: string): number {
  let bits = 0
  for (let index = value.length - 6; index < value.length; index++) {
    bits = Math.imul(bits, 61) + value.charCodeAt(index)
  }
  return bits & 0x3fffffff
}
