import type { Background } from './background.ts'
import type { IssuedTokens } from './tokens.ts'

export type TokenTypeHint = 'refresh_token' | 'access_token'

/** About half a minute of trying, with growing pauses. */
const attempts = 6

/**
 * Revokes tokens in the background (RFC 7009), the refresh token first, and tries again while the server is away.
 * @param revokeOnce Asks once; `false` when another try may help.
 */
export function createRevocation(
  background: Background,
  revokeOnce: (token: string, hint: TokenTypeHint) => Promise<boolean>,
): (tokens: IssuedTokens) => void {
  return ({ refreshToken, accessToken }) => {
    for (const [token, hint] of [
      [refreshToken, 'refresh_token'],
      [accessToken, 'access_token'],
    ] as const) {
      if (token !== undefined)
        background.persist(`revocation of a ${hint}`, () => revokeOnce(token, hint), { attempts })
    }
  }
}
