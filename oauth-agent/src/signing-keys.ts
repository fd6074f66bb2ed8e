import type { Clock } from '@token-handler/shared'

/** The authorization server's signing keys (JWK Set, RFC 7517 section 5), fetched as rarely as is safe. */
export interface SigningKeys {
  /**
   * The key set to verify with, refetched when the key id is not in it.
   * @throws the fetch's error when there is no set that could serve.
   */
  for(kid: string | undefined): Promise<JwkSet>
  /** Whether a set can be had, and the key id is in it: a server may sign with a key before all its parts publish it. */
  canServe(kid: string | undefined): Promise<boolean>
}

export interface JwkSet {
  readonly keys: readonly { readonly kid?: unknown }[]
}

/** A set that is younger is used as it is. */
const freshMs = 300_000
/** The same where a token names no key: nothing but time shows then that the keys were rotated. */
const freshWithoutKidMs = 10_000
/** A set that is older is no longer used when a new one cannot be had. */
const staleMs = 86_400_000
/** Unknown key ids may cause this many fetches at once, and one more each half minute: rotation works at any moment, a flood does not. */
const burst = 3
const refillMs = 30_000

export function createSigningKeys(fetchKeys: () => Promise<JwkSet>, clock: Clock): SigningKeys {
  let current: { readonly set: JwkSet; readonly fetchedAt: number } | undefined
  let fetching: Promise<JwkSet> | undefined
  let allowance = burst
  let refilledAt = clock.monotonic()

  async function refetch(): Promise<JwkSet> {
    fetching ??= fetchKeys()
      .then((set) => {
        current = { set, fetchedAt: clock.monotonic() }
        return set
      })
      .finally(() => {
        fetching = undefined
      })
    return fetching
  }

  function mayAsk(): boolean {
    const refilled = Math.floor((clock.monotonic() - refilledAt) / refillMs)
    if (refilled > 0) {
      allowance = Math.min(burst, allowance + refilled)
      refilledAt += refilled * refillMs
    }
    if (allowance === 0) return false
    allowance--
    return true
  }

  async function keysFor(kid: string | undefined): Promise<JwkSet> {
    if (current === undefined) return refetch()
    const age = clock.monotonic() - current.fetchedAt
    const isKnown = holds(current.set, kid)
    const isFresh = age < (kid === undefined ? freshWithoutKidMs : freshMs)
    if (isFresh && (isKnown || !mayAsk())) return current.set
    try {
      return await refetch()
    } catch (error) {
      // The last good set serves while the server cannot be asked, if it holds the key.
      if (isKnown && age < staleMs) return current.set
      throw error
    }
  }

  return {
    for: keysFor,
    canServe: async (kid) =>
      keysFor(kid).then(
        (set) => holds(set, kid),
        () => false,
      ),
  }
}

function holds({ keys }: JwkSet, kid: string | undefined): boolean {
  return kid === undefined || keys.some((key) => key.kid === kid)
}
