import type { Clock } from '@token-handler/shared'

/** A clock that stands still until the test moves it. */
export interface FakeClock extends Clock {
  /** Time passes: both clocks move on. */
  advance(milliseconds: number): void
  advanceSeconds(seconds: number): void
  /** Somebody sets the wall clock, forwards or back; the monotonic one does not notice. */
  jump(milliseconds: number): void
}

/** @param startsAt Wall clock at the start, in milliseconds since 1970. */
export function fakeClock(startsAt: number = Date.UTC(2030, 0, 1)): FakeClock {
  let wall = startsAt
  let steady = 0
  const advance = (milliseconds: number): void => {
    wall += milliseconds
    steady += milliseconds
  }
  return {
    now: () => wall,
    monotonic: () => steady,
    advance,
    advanceSeconds: (seconds) => advance(seconds * 1000),
    jump(milliseconds) {
      wall += milliseconds
    },
  }
}
