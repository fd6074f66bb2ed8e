import { cookieTag, maxChunks, writtenNames, type CookieNames, type CookieSettings } from '@token-handler/shared'
import { maxPendingLoginBytes, maxPendingLogins } from './pending-login.ts'
import type { Generation } from './session-claims.ts'

/** `Set-Cookie: ` and the line end. */
const setCookieFieldBytes = 14

const sidLength = 22
const loginIdLength = 16

/** Bytes that Set-Cookie lines add to an answer. */
export function answerBytes(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + setCookieFieldBytes, 0)
}

/**
 * Says by how much a generation would exceed what browsers, proxies and servers take, or nothing. Pending logins count at
 * their worst: they may join at any time.
 * @param lines The Set-Cookie lines that would set it, and whatever else the answer sets.
 */
export function overBudget(
  generation: Generation,
  lines: readonly string[],
  names: CookieNames,
  settings: CookieSettings,
): string | undefined {
  const { access, refresh, id } = generation
  const { headerBudgetBytes, responseBudgetBytes } = settings
  for (const value of [access, refresh, id]) {
    if (writtenNames('', value?.length ?? 0).length > maxChunks) return `a value needs more than ${maxChunks} chunks`
  }
  const header = largestHeader(generation, names, settings)
  const answer = answerBytes(lines)
  if (header <= headerBudgetBytes && answer <= responseBudgetBytes) return undefined
  return `Cookie header ${header} of ${headerBudgetBytes} bytes, Set-Cookie ${answer} of ${responseBudgetBytes} bytes`
}

/**
 * Bytes of the largest Cookie header that a browser sends with a generation.
 * @param accessCookies How many of that size; those of replaced sessions may be there too.
 */
export function largestHeader(
  { claims, refresh, access }: Generation,
  names: CookieNames,
  { accessTokenPath, agentPath }: CookieSettings,
  accessCookies = 1,
): number {
  const tag = cookieTag(claims.sid)
  const logins = maxPendingLogins * headerBytes(names.login('0'.repeat(loginIdLength)), maxPendingLoginBytes)
  const everywhere = headerBytes(names.sid, sidLength) + logins
  const api = accessCookies * headerBytes(names.accessToken(tag), access?.length ?? 0)
  const agent = headerBytes(names.refreshToken(tag), refresh.length) + headerBytes(names.idToken(tag), claims.len[1])
  return Math.max(
    everywhere + api + (isUnder(accessTokenPath, agentPath) ? agent : 0),
    everywhere + agent + (isUnder(agentPath, accessTokenPath) ? api : 0),
  )
}

/** Bytes that a cookie adds to a Cookie header: names, values and separators. */
function headerBytes(name: string, valueLength: number): number {
  if (valueLength === 0) return 0
  const written = writtenNames(name, valueLength)
  return valueLength + (written.length > 1 ? 2 : 0) + written.reduce((sum, one) => sum + one.length + 3, 0)
}

function isUnder(path: string, base: string): boolean {
  return base === '/' || path === base || path.startsWith(`${base}/`)
}
