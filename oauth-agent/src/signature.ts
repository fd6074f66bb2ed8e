import { compactVerify, createLocalJWKSet, errors, type CompactVerifyGetKey, type JSONWebKeySet } from 'jose'
import type { JwkSet } from './signing-keys.ts'

/** What a signed message of the authorization server is judged by. */
export interface SignedMessageContext {
  readonly issuer: string
  readonly clientId: string
  /** Signature algorithms that it may have: those of ID tokens. */
  readonly algorithms: readonly string[]
  /** Seconds since 1970. */
  readonly now: number
  readonly clockSkewSeconds: number
  /** The authorization server's keys. @throws when they cannot be had. */
  readonly keysFor: (kid: string | undefined) => Promise<JwkSet>
}

/** Whether one of the keys made the signature of a compact JWS (RFC 7515 section 5.2) with one of the algorithms. */
export async function isSignedBy(text: string, keys: JwkSet, algorithms: readonly string[]): Promise<boolean> {
  const verify = async (key: CompactVerifyGetKey | CryptoKey): Promise<boolean> => {
    await compactVerify(text, key as CompactVerifyGetKey, { algorithms: [...algorithms] })
    return true
  }
  try {
    return await verify(createLocalJWKSet({ keys: [...keys.keys] } as JSONWebKeySet))
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return false
    // Without a kid, or with one that is used twice, each key that fits is tried (RFC 7515 appendix D).
    for await (const key of error) {
      if (await verify(key).catch(() => false)) return true
    }
    return false
  }
}
