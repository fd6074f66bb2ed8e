/** Time as the program sees it: replaceable in tests, so that no test waits. */
export interface Clock {
  /** Milliseconds since 1970 (wall clock). */
  now(): number
  /** Milliseconds on a clock that never jumps; only differences mean something. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

/** Whole seconds since 1970, as JWT claims count them (RFC 7519 section 2, NumericDate). */
export function epochSeconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000)
}
