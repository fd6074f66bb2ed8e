import type { Clock } from '@token-handler/shared'

const windowMs = 60_000
const mostWrong = 5
/** Addresses that are counted at most; beyond that, the one that came first starts anew. */
const mostAddresses = 1000

interface Count {
  wrong: number
  readonly endsAt: number
}

/**
 * Five wrong keys a minute and address. No key can be guessed at any rate (32 characters at least); this keeps the audit
 * log readable, and whoever tries, noticed. By address only: one limit for all would lock operators out in an incident.
 */
export class WrongKeys {
  readonly #counts = new Map<string, Count>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns Seconds that this address has to wait, 0 if it may try. */
  secondsToWait(address: string): number {
    const count = this.#counts.get(address)
    const leftMs = (count?.endsAt ?? 0) - this.#clock.monotonic()
    return count === undefined || count.wrong < mostWrong || leftMs <= 0 ? 0 : Math.ceil(leftMs / 1000)
  }

  add(address: string): void {
    const now = this.#clock.monotonic()
    const count = this.#counts.get(address)
    if (count !== undefined && count.endsAt > now) {
      count.wrong += 1
      return
    }
    // To the end of the map, where the youngest are.
    this.#counts.delete(address)
    if (this.#counts.size >= mostAddresses) this.#counts.delete(this.#counts.keys().next().value ?? '')
    this.#counts.set(address, { wrong: 1, endsAt: now + windowMs })
  }
}
