/** Parameters of a Bearer challenge that say what the session lacks (RFC 6750 section 3, RFC 9470 section 3). */
const passed = new Set(['error', 'scope', 'acr_values', 'max_age'])
const maxLength = 4096
/** A parameter, or a scheme with its first parameter or nothing after it (RFC 9110 section 11.6.1). Linear: each part excludes the next. */
const part = /[ \t,]*(?:([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t,"]+)))?)/y

/**
 * The Bearer challenge among those that an API sends, with the parameters that help and nothing else: no realm, no address,
 * no other scheme. Basic and Negotiate would make the browser ask for a password, DPoP tells what only this proxy may use.
 * @returns `undefined` when there is none.
 */
export function sanitizeChallenge(received: string | string[] | undefined): string | undefined {
  if (received === undefined) return undefined
  const text = [received].flat().join(', ').slice(0, maxLength)
  let isBearer = false
  let found = false
  const parameters: string[] = []
  part.lastIndex = 0
  for (let match = part.exec(text); match !== null; match = part.exec(text)) {
    const [, name = '', quoted, token] = match
    const value = quoted ?? token
    if (value === undefined) {
      if (found) break
      isBearer = name.toLowerCase() === 'bearer'
      found = isBearer
    } else if (isBearer && passed.has(name.toLowerCase()) && /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,256}$/.test(value)) {
      parameters.push(`${name.toLowerCase()}="${value}"`)
    }
  }
  if (!found) return undefined
  return parameters.length === 0 ? 'Bearer' : `Bearer ${parameters.join(', ')}`
}
