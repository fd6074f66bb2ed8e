const mayHoldToken = /token|%[4-7]/i
/** PHP reads spaces, dots and an opening bracket as an underscore, others ignore case. */
const tokenName = /^[ +]*access[_. +[]token(?:\[|$)/i

/**
 * Whether a query brings an access token (RFC 6750 section 2.3) under a name that some framework takes for that of the
 * parameter. An API that takes it there would judge the call by it, and not by the session.
 */
export function bringsToken(query: string): boolean {
  if (!mayHoldToken.test(query)) return false
  return query.split(/[?&;]/).some((pair) => {
    const [name = ''] = pair.split('=', 1)
    const decoded = name.replace(/%([2-7][\da-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    return tokenName.test(decoded)
  })
}
