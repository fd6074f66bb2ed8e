/** A request whose body is still coming from its client. */
export interface Upload {
  /** Milliseconds since its client sent something though more was wanted; 0 while the API takes nothing. */
  quietMs(): number
  /** Ends it, to make room for another one. */
  giveUp(): void
}

/** A client that sends at all is not quiet for this long. */
const longestGapMs = 1_000

/**
 * The requests to one API whose bodies are still coming. How long that takes is up to their clients, so that they hold no
 * place among those that wait for an answer; and when there are too many of them, the one whose client was quiet the longest
 * goes. Bodies that are sent slowly on purpose so take nothing away from anybody who sends.
 */
export class Uploads {
  readonly #open = new Set<Upload>()

  /** Whether one more may begin; ends a quiet one if that takes it. */
  makeRoom(most: number): boolean {
    if (this.#open.size < most) return true
    let quietest: Upload | undefined
    let longestMs = longestGapMs
    for (const upload of this.#open) {
      const quietMs = upload.quietMs()
      if (quietMs < longestMs) continue
      quietest = upload
      longestMs = quietMs
    }
    quietest?.giveUp()
    return this.#open.size < most
  }

  add(upload: Upload): void {
    this.#open.add(upload)
  }

  delete(upload: Upload): void {
    this.#open.delete(upload)
  }
}
