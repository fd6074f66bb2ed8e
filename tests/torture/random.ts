/** Numbers that look random and are the same for the same seed. */
export interface Random {
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from 0 up to, not including, `end`. */
  below(end: number): number
  /** A number from `from` up to `to`. */
  between(from: number, to: number): number
  /** Whether something of this probability happens. */
  isTrue(probability: number): boolean
  pick<T>(values: readonly T[]): T
  shuffled<T>(values: readonly T[]): T[]
}

/** Each name has a sequence of its own, so that the parts of a run do not draw from one another. */
export function createRandom(seed: number, name: string): Random {
  let state = seed >>> 0
  for (const character of name) state = (Math.imul(state ^ character.charCodeAt(0), 0x01000193) + 0x9e3779b9) >>> 0

  /** mulberry32. */
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  const below = (end: number): number => Math.floor(next() * end)
  return {
    next,
    below,
    between: (from, to) => from + next() * (to - from),
    isTrue: (probability) => next() < probability,
    pick<T>(values: readonly T[]): T {
      if (values.length === 0) throw new RangeError('there is nothing to pick from')
      return values[below(values.length)] as T
    },
    shuffled(values) {
      const rest = [...values]
      return values.map(() => rest.splice(below(rest.length), 1)[0] as (typeof values)[number])
    },
  }
}
