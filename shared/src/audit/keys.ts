import { createHash, createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { KeyRing } from '../key-ring.ts'

/** Makes pseudonyms and chains records. */
export interface AuditKey {
  /** Tells keys apart, and nothing about them. */
  readonly kid: string
  /** 128-bit keyed hash that stands for a subject. */
  pseudonymOf(subjectHash: string): string
  /** 256-bit code of a text under the chain's key. */
  authenticate(text: string): string
}

/** The key of new records, and those of old ones. */
export interface AuditKeys {
  current(): AuditKey
  /** All keys that are known, the current one first. */
  all(): readonly AuditKey[]
}

/** @param secret 32 bytes; the two keys are derived from it with HKDF-SHA-256 (RFC 5869), each for its own use. */
export function createAuditKey(secret: Uint8Array, kid: string): AuditKey {
  const derive = (use: string): KeyObject => {
    const info = JSON.stringify(['token-handler', 'audit', use])
    return createSecretKey(Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, 32)))
  }
  const pseudonyms = derive('pseudonyms')
  const chain = derive('chain')
  return {
    kid,
    pseudonymOf: (subjectHash) =>
      createHmac('sha256', pseudonyms).update(subjectHash).digest().subarray(0, 16).toString('base64url'),
    authenticate: (text) => createHmac('sha256', chain).update(text).digest('base64url'),
  }
}

/** Keys of the configuration; base64url of 32 bytes each, the current one first. Their ids follow from them. */
export function configuredAuditKeys([current, ...previous]: readonly [string, ...string[]]): AuditKeys {
  const keyOf = (text: string): AuditKey => {
    const secret = Buffer.from(text, 'base64url')
    const info = JSON.stringify(['token-handler', 'audit', 'id'])
    const id = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, 32))
    return createAuditKey(secret, `cfg-${createHash('sha256').update(id).digest('base64url').slice(0, 8)}`)
  }
  const key = keyOf(current)
  const keys = [key, ...previous.map(keyOf)]
  return { current: () => key, all: () => keys }
}

/**
 * Keys that follow the key ring, under its key ids: new parts of the log use the active one.
 * @throws Error when the ring has no key for the audit log.
 */
export function keyRingAuditKeys(ring: () => KeyRing): AuditKeys {
  let seen: KeyRing | undefined
  let keys: AuditKey[] = []
  const all = (): AuditKey[] => {
    const now = ring()
    if (now === seen) return keys
    const active = now.sealingKey('audit')
    if (active === undefined) throw new Error('the key ring has no key for the audit log')
    const others = now.kids.filter((kid) => kid !== active.kid).map((kid) => now.openingKey('audit', kid))
    keys = [active, ...others].flatMap((one) => (one === undefined ? [] : [createAuditKey(one.key.export(), one.kid)]))
    seen = now
    return keys
  }
  return {
    current() {
      const [current] = all()
      if (current === undefined) throw new Error('the key ring has no key for the audit log')
      return current
    },
    all,
  }
}
