import { randomBytes } from 'node:crypto'
import type { AuditKey } from './keys.ts'
import type { RecordBody } from './record.ts'
import type { AuditPlace, AuditRecord } from './schema.ts'

/**
 * The records of one process, each bound to the one before by a keyed code. What names a person is bound by a code of its
 * own, so that it can be erased while the chain holds.
 */
export class Chain {
  readonly id = randomBytes(6).toString('hex')
  #key: AuditKey
  #next = 0
  #hash = ''

  constructor(key: AuditKey) {
    this.#key = key
  }

  get key(): AuditKey {
    return this.#key
  }

  /** The last record, if there is one. */
  get end(): AuditPlace | undefined {
    return this.#next === 0 ? undefined : { chain: this.id, n: this.#next - 1, hash: this.#hash }
  }

  /** The next records are coded under another key; the first of them must be a `log_opened` that names it. */
  changeKey(key: AuditKey): void {
    this.#key = key
  }

  /** @returns the line of the next record, with its line feed. */
  seal({ v, type, who, ...body }: RecordBody): string {
    const bound = {
      v,
      type,
      chain: this.id,
      n: this.#next,
      ...body,
      ...(who === undefined ? {} : { who_hash: whoCode(this.#key, who) }),
    }
    const hash = recordCode(this.#key, this.#hash, bound)
    this.#next += 1
    this.#hash = hash
    return `${JSON.stringify({ ...bound, ...(who === undefined ? {} : { who }), hash })}\n`
  }
}

/** Code of what names a person. */
export function whoCode(key: AuditKey, who: AuditRecord['who']): string {
  return key.authenticate(`who\n${JSON.stringify(who)}`)
}

/** What stands where `who` was: only who has the key can erase. */
export function erasureCode(key: AuditKey, whoHash: string): string {
  return key.authenticate(`erased\n${whoHash}`).slice(0, 22)
}

/** Code of a record, given that of the one before. */
export function recordCode(
  key: AuditKey,
  previousHash: string,
  { who: _who, erased: _erased, hash: _hash, ...bound }: Partial<AuditRecord>,
): string {
  return key.authenticate(`record\n${previousHash}\n${JSON.stringify(bound)}`)
}
