import type { KeyFile, KeyFileEntry } from './key-ring.ts'

/** A change that the key file does not allow; the message is for the operator and names no secret. */
export class KeyRotationError extends Error {
  override readonly name = 'KeyRotationError'
}

/**
 * Adds keys that open, and seal nothing until they are activated. Those that the file has by the same id stay as they are.
 * @throws KeyRotationError when one id stands for two different keys.
 */
export function addKeys({ keys }: KeyFile, added: readonly KeyFileEntry[]): KeyFile {
  const known = new Map(keys.map((entry) => [entry.kid, entry]))
  for (const entry of added) {
    const here = known.get(entry.kid)
    if (here !== undefined && !mayBeSame(here, entry)) {
      throw new KeyRotationError(`key ${entry.kid} is another one in the other file; nothing was changed`)
    }
  }
  const fresh = added.filter(({ kid, state }) => !known.has(kid) && state !== 'retired')
  return { keys: [...keys, ...fresh.map((entry) => ({ ...withoutEnd(entry), state: 'pending' as const }))] }
}

function withoutEnd({ deactivated: _ended, ...entry }: KeyFileEntry): KeyFileEntry {
  return entry
}

/** Keys of different kinds, master and derived, cannot be told apart by their secrets. */
function mayBeSame(one: KeyFileEntry, other: KeyFileEntry): boolean {
  if (one.key !== undefined && other.key !== undefined) return one.key === other.key
  return Object.entries(other.derived ?? {}).every(([purpose, secret]) => {
    const here = one.derived?.[purpose as keyof typeof one.derived]
    return here === undefined || here === secret
  })
}

/**
 * Makes a key the one that seals; the one before it goes on opening. An open-only key can be taken back.
 * @throws KeyRotationError for a key that is retired, or not there.
 */
export function activateKey(file: KeyFile, kid: string, now: Date): KeyFile {
  const { state } = keyOf(file, kid)
  if (state === 'retired') throw new KeyRotationError(`key ${kid} is retired and cannot be taken back`)
  if (state === 'active') return file
  return {
    keys: file.keys.map((entry) => {
      if (entry.kid === kid) return { ...withoutEnd(entry), state: 'active' as const }
      return entry.state === 'active'
        ? { ...entry, state: 'open-only' as const, deactivated: now.toISOString() }
        : entry
    }),
  }
}

/**
 * Ends a key and forgets its secret: what only it can open is lost.
 * @throws KeyRotationError for the active key, or one that is not there.
 */
export function retireKey(file: KeyFile, kid: string): KeyFile {
  const { state } = keyOf(file, kid)
  if (state === 'active') throw new KeyRotationError(`key ${kid} is active; activate another one first`)
  return {
    keys: file.keys.map(({ key, derived, ...entry }) =>
      entry.kid === kid
        ? { ...entry, state: 'retired' as const }
        : { ...entry, ...(key === undefined ? {} : { key }), ...(derived === undefined ? {} : { derived }) },
    ),
  }
}

/** @throws KeyRotationError */
export function keyOf({ keys }: KeyFile, kid: string): KeyFileEntry {
  const found = keys.find((entry) => entry.kid === kid)
  if (found === undefined) throw new KeyRotationError(`the key file has no key ${kid}`)
  return found
}

/** Until when a cookie that a key sealed may live: milliseconds since 1970, or `undefined` where the file does not tell. */
export function lastCookieAt({ state, deactivated }: KeyFileEntry, absoluteSeconds: number): number | undefined {
  if (state === 'retired') return 0
  return deactivated === undefined ? undefined : Date.parse(deactivated) + absoluteSeconds * 1000
}
