import {
  buildKeyRing,
  createCookieSealer,
  derivePurposeKey,
  generateKeyFile,
  type CookieSealer,
  type KeyContext,
  type KeyFile,
  type Purpose,
  type SealedClaims,
} from '@token-handler/shared'
import { CompactEncrypt } from 'jose'
import { fakeClock, type FakeClock } from '../support/clock.ts'

export const client: KeyContext = { issuer: 'https://as.example', clientId: 'spa-client' }

/** A key file of one active key, the sealer that uses it, and what a test needs to make values of its own. */
export interface Sealing {
  readonly clock: FakeClock
  readonly keyFile: KeyFile
  readonly kid: string
  readonly sealer: CookieSealer
  /** The key of one purpose, as any JOSE library takes it. */
  keyOf(purpose: Purpose): Buffer
  /** Seconds since 1970, so many from now. */
  inSeconds(seconds: number): number
}

export function createSealing(clock: FakeClock = fakeClock()): Sealing {
  const keyFile = generateKeyFile(new Date(clock.now()))
  const [entry] = keyFile.keys
  if (entry?.key === undefined) throw new Error('a generated key file has one master key')
  const master = Buffer.from(entry.key, 'base64url')
  const ring = buildKeyRing(keyFile, client)
  return {
    clock,
    keyFile,
    kid: entry.kid,
    sealer: createCookieSealer(() => ring, clock),
    keyOf: (purpose) => derivePurposeKey(master, purpose, client),
    inSeconds: (seconds) => Math.floor(clock.now() / 1000) + seconds,
  }
}

export function sealerFor(keyFile: KeyFile, clock: FakeClock, context: KeyContext = client): CookieSealer {
  const ring = buildKeyRing(keyFile, context)
  return createCookieSealer(() => ring, clock)
}

export interface Token extends SealedClaims {
  readonly at: string
}

/** Claims that are good for five minutes. */
export function tokenOf(sealing: Sealing, text = 'a readable access token'): Token {
  return { exp: sealing.inSeconds(300), at: text }
}

/** A value as jose makes it, with a header of our choice under the right key. */
export async function sealedByJose(
  sealing: Sealing,
  header: Record<string, unknown> = {},
  claims: unknown = tokenOf(sealing),
): Promise<string> {
  return new CompactEncrypt(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: 'th1-access-token', ...header })
    .encrypt(sealing.keyOf('access-token'))
}
