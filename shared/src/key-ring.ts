import { createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { z } from 'zod'

/** What a sealed value is for, or what else is made with a key. Each purpose has a key of its own, so a value is worthless in any other place. */
export type Purpose = 'access-token' | 'refresh-token' | 'id-token' | 'login' | 'logout' | 'audit'

export const purposes: readonly Purpose[] = ['access-token', 'refresh-token', 'id-token', 'login', 'logout', 'audit']

/** Format version of everything sealed. Release n seals n and opens n−1 as well. */
export const formatVersion = 1

/** The client that the keys work for; part of every derivation, so that no other client's cookies open. */
export interface KeyContext {
  readonly issuer: string
  readonly clientId: string
}

const kid = z.string().regex(/^[A-Za-z0-9_-]{1,16}$/, 'must be 1 to 16 characters of A-Z a-z 0-9 _ -')

function isGoodKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.length === 32 && bytes.toString('base64url') === text && new Set(bytes).size >= 12
}

const secret = z
  .string()
  .refine(isGoodKey, 'must be 32 random bytes as base64url; make one with `token-handler keys generate`')

const keyState = z.enum(['pending', 'active', 'open-only', 'retired'])

/** The file that `token-handler keys generate` writes. */
export const keyFileSchema = z
  .strictObject({
    keys: z
      .array(
        z.strictObject({
          kid,
          state: keyState,
          created: z.iso.datetime().optional(),
          /** When it ceased to be the active one: what it sealed is younger than the session's absolute life after that. */
          deactivated: z.iso.datetime().optional(),
          /** Master key: the keys of all purposes are derived from it. */
          key: secret.optional(),
          /** Derived keys by purpose, as `token-handler keys export` gives them to a proxy-only deployment. */
          derived: z.partialRecord(z.enum(purposes), secret).optional(),
        }),
      )
      .min(1),
  })
  .superRefine(({ keys }, context) => {
    const active = keys.filter((entry) => entry.state === 'active')
    if (active.length !== 1) {
      context.addIssue({
        code: 'custom',
        path: ['keys'],
        message: `exactly one key must be active, not ${active.length}`,
      })
    }
    const seen = { kids: new Set<string>(), secrets: new Set<string>() }
    keys.forEach((entry, index) => {
      if (seen.kids.has(entry.kid)) {
        context.addIssue({ code: 'custom', path: ['keys', index, 'kid'], message: 'is used twice' })
      }
      seen.kids.add(entry.kid)
      const secrets = Number(entry.key !== undefined) + Number(entry.derived !== undefined)
      // A retired key does nothing, and is better forgotten.
      if (secrets > 1 || (secrets === 0 && entry.state !== 'retired')) {
        context.addIssue({ code: 'custom', path: ['keys', index], message: 'needs either "key" or "derived"' })
      }
      for (const value of [entry.key, ...Object.values(entry.derived ?? {})]) {
        if (value === undefined) continue
        if (seen.secrets.has(value)) {
          context.addIssue({ code: 'custom', path: ['keys', index], message: 'repeats the secret of another key' })
        }
        seen.secrets.add(value)
      }
    })
  })

export type KeyFile = z.infer<typeof keyFileSchema>
export type KeyFileEntry = KeyFile['keys'][number]

/** Keys that a deployment cannot work with, for they lack purposes that it needs; retired ones need none. */
export function missingPurposes(
  { keys }: KeyFile,
  needed: readonly Purpose[],
): { readonly index: number; readonly purposes: readonly Purpose[] }[] {
  return keys.flatMap(({ state, derived }, index) => {
    if (state === 'retired' || derived === undefined) return []
    const lacking = needed.filter((purpose) => derived[purpose] === undefined)
    return lacking.length === 0 ? [] : [{ index, purposes: lacking }]
  })
}

/** A key of one purpose. */
export interface PurposeKey {
  readonly kid: string
  readonly purpose: Purpose
  readonly key: KeyObject
}

/**
 * The keys of one moment, derived for every purpose that the file allows.
 * `active` seals; `active`, `pending` and `open-only` open; a retired key does nothing.
 */
export interface KeyRing {
  /** The sealing key, or `undefined` where this deployment was not given the purpose. */
  sealingKey(purpose: Purpose): PurposeKey | undefined
  openingKey(purpose: Purpose, kid: string): PurposeKey | undefined
  /** Key ids that open something, for logs and metrics. */
  readonly kids: readonly string[]
  /** The same keys, with what is known about them. */
  readonly keys: readonly RingKey[]
}

export interface RingKey {
  readonly kid: string
  /** Whether it seals. */
  readonly isActive: boolean
  /** As its file says. */
  readonly createdAt: Date | undefined
}

/**
 * Derives the key of one purpose with HKDF-SHA-256 (RFC 5869). The info is a JSON array, so no two field combinations
 * can read the same.
 */
export function derivePurposeKey(master: Uint8Array, purpose: Purpose, context: KeyContext): Buffer {
  const info = JSON.stringify(['token-handler', formatVersion, purpose, context.issuer, context.clientId])
  return Buffer.from(hkdfSync('sha256', master, Buffer.alloc(0), info, 32))
}

/** Builds the ring from a checked key file. */
export function buildKeyRing(file: KeyFile, context: KeyContext): KeyRing {
  const opening = new Map<string, PurposeKey>()
  const sealing = new Map<Purpose, PurposeKey>()
  const keys: RingKey[] = []
  for (const entry of file.keys) {
    if (entry.state === 'retired') continue
    keys.push({
      kid: entry.kid,
      isActive: entry.state === 'active',
      createdAt: entry.created === undefined ? undefined : new Date(entry.created),
    })
    for (const purpose of purposes) {
      const derived = entry.derived?.[purpose]
      const bytes =
        entry.key !== undefined
          ? derivePurposeKey(Buffer.from(entry.key, 'base64url'), purpose, context)
          : derived !== undefined
            ? Buffer.from(derived, 'base64url')
            : undefined
      if (bytes === undefined) continue
      const purposeKey: PurposeKey = { kid: entry.kid, purpose, key: createSecretKey(bytes) }
      opening.set(`${purpose}/${entry.kid}`, purposeKey)
      if (entry.state === 'active') sealing.set(purpose, purposeKey)
    }
  }
  return {
    sealingKey: (purpose) => sealing.get(purpose),
    openingKey: (purpose, id) => opening.get(`${purpose}/${id}`),
    kids: keys.map((key) => key.kid),
    keys,
  }
}

/** A new key file with one active master key. */
export function generateKeyFile(now: Date): KeyFile {
  return { keys: [generateKey('active', now)] }
}

/** A new master key. */
export function generateKey(state: 'active' | 'pending', now: Date): KeyFileEntry {
  return {
    kid: newKid(),
    state,
    created: now.toISOString(),
    key: randomBytes(32).toString('base64url'),
  }
}

/** Any 48 bits but those that would look like an option on a command line. */
function newKid(): string {
  for (;;) {
    const id = randomBytes(6).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

/** What a proxy-only deployment needs: it opens access tokens, and no refresh token, with what it is given. */
export function exportKeyFile(file: KeyFile, allowed: readonly Purpose[], context: KeyContext): KeyFile {
  return {
    keys: file.keys
      .filter((entry) => entry.state !== 'retired')
      .map(({ key, derived, ...entry }) => ({
        ...entry,
        derived: Object.fromEntries(
          allowed.flatMap((purpose) => {
            if (key !== undefined) {
              const bytes = derivePurposeKey(Buffer.from(key, 'base64url'), purpose, context)
              return [[purpose, bytes.toString('base64url')]]
            }
            const known = derived?.[purpose]
            return known === undefined ? [] : [[purpose, known]]
          }),
        ),
      })),
  }
}
