/** What {@link OpenExchanges} can hold. */
export interface Placed {
  /** Index in the list, -1 outside of it. Only the list changes it. */
  place: number
}

/**
 * The exchanges under way, in no order.
 *
 * A `Set` would be shorter. But V8 links each table that a Set has outgrown to the one after it, and once such a table
 * belongs to the old generation, all later ones, with everything that was under way in their time, survive every minor
 * garbage collection. Measured on Node 26: a quarter of all that was allocated, and 8 µs of CPU time a request.
 */
export class OpenExchanges<Exchange extends Placed> {
  readonly #list: Exchange[] = []

  add(exchange: Exchange): void {
    exchange.place = this.#list.length
    this.#list.push(exchange)
  }

  /** Takes one out, which costs the same however many there are. Does nothing when it is not in here. */
  delete(exchange: Exchange): void {
    const { place } = exchange
    if (this.#list[place] !== exchange) return
    exchange.place = -1
    const last = this.#list.pop()
    if (last === undefined || last === exchange) return
    this.#list[place] = last
    last.place = place
  }

  get size(): number {
    return this.#list.length
  }

  /** Those of this moment: what ends meanwhile is still among them. */
  [Symbol.iterator](): Iterator<Exchange> {
    return [...this.#list].values()
  }
}
