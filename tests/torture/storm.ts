import { setTimeout as sleep } from 'node:timers/promises'

/** Now and then has all browsers wait for each other, so that all their tabs ask at once. */
export class Storm {
  readonly #everyMs: number
  #nextAt: number
  #gate: Promise<void> | undefined

  constructor(everyMs: number) {
    this.#everyMs = everyMs
    this.#nextAt = performance.now() + everyMs
  }

  /** Whether waiting for the next one is better than being late for it. */
  get isNear(): boolean {
    return this.#gate !== undefined || performance.now() > this.#nextAt - gatherMs
  }

  /** Resolves at once, or with the beginning of the storm that gathers. */
  async pass(): Promise<void> {
    if (performance.now() > this.#nextAt) {
      this.#gate ??= this.#gather()
    }
    await this.#gate
  }

  async #gather(): Promise<void> {
    await sleep(gatherMs)
    this.#gate = undefined
    this.#nextAt = performance.now() + this.#everyMs
  }
}

const gatherMs = 1500
