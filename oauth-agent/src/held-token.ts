import { createSecretKey, randomBytes } from 'node:crypto'
import { sealUnder, type AccessCookieClaims, type HeldToken } from '@token-handler/shared'

/** Clocks of agents and proxies may differ by so much. */
const clockMarginMs = 60_000

/**
 * Seals an access token for the ledger under a key of its own, which nobody has but who opens the access cookie.
 * @param expiresAt Seconds since 1970: the end of the access cookie.
 */
export function holdToken(
  sid: string,
  accessToken: string,
  expiresAt: number,
): { readonly claim: NonNullable<AccessCookieClaims['held']>; readonly token: HeldToken } {
  const key = randomBytes(32)
  const reference = randomBytes(16).toString('base64url')
  const sealed = sealUnder(createSecretKey(key), accessToken)
  return {
    claim: { ref: reference, k: key.toString('base64url') },
    token: { sid, reference, sealed, expiresAt: expiresAt * 1000 + clockMarginMs },
  }
}
