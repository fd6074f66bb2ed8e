import { randomBytes } from 'node:crypto'
import {
  buildKeyRing,
  cookieNames,
  cookieTag,
  createCookieSealer,
  identityHash,
  setCookieLines,
  systemClock,
  type AccessCookieClaims,
  type CookieSealer,
  type KeyFile,
} from '@token-handler/shared'
import { cookieSettings, keyContext, publicOrigin, routePaths } from './site.ts'

/** What the load generator sends, over and over. */
export interface Traffic {
  readonly name: string
  /** Distinct sessions, taken in turn: with more of them than a cache holds, every request is another session's. */
  readonly sessions: number
  /** Length of the access token in bytes. */
  readonly tokenBytes: number
  /** Routes that the requests are spread over. */
  readonly routes: number
  /** Cookie headers to use in place of the product's own, for contenders that have cookies of their own. */
  readonly cookies?: readonly string[]
}

const names = cookieNames(cookieSettings)
/** Nothing expires during a run. */
const lifetimeSeconds = 12 * 3600

/** Builds the raw requests, with cookies sealed by the product's own sealer. */
export function prepareRequests(traffic: Traffic, keyFile: KeyFile): Buffer[] {
  const cookies = traffic.cookies ?? sealCookies(traffic, keyFile)
  const paths = routePaths(traffic.routes)
  return Array.from({ length: Math.max(cookies.length, paths.length) }, (_, index) =>
    rawRequest(`GET ${target(paths, index)}`, cookies[index % cookies.length]),
  )
}

function sealCookies({ sessions, tokenBytes }: Traffic, keyFile: KeyFile): string[] {
  const ring = buildKeyRing(keyFile, keyContext)
  const sealer = createCookieSealer(() => ring, systemClock)
  return Array.from({ length: sessions }, () => sessionCookies(fakeToken(tokenBytes), sealer))
}

/** The Cookie header that a browser sends to the proxy's path. */
export function sessionCookies(accessToken: string, sealer: CookieSealer): string {
  const sid = randomBytes(16).toString('base64url')
  const now = Date.now()
  const claims: AccessCookieClaims = {
    exp: Math.floor(now / 1000) + lifetimeSeconds,
    sid,
    at: accessToken,
    sst: now,
    sub: identityHash(keyContext.issuer, sid),
    asid: identityHash(keyContext.issuer, `session of ${sid}`),
    scope: 'openid profile orders:read orders:write',
    acr: 'urn:example:loa:2',
    auth_time: Math.floor(now / 1000),
  }
  const lines = setCookieLines({
    name: names.accessToken(cookieTag(sid)),
    value: sealer.seal('access-token', claims),
    path: cookieSettings.accessTokenPath,
  })
  if (lines === undefined) throw new RangeError('the access token does not fit into cookies')
  return [`${names.sid}=${sid}`, ...lines.map((line) => line.split(';', 1)[0])].join('; ')
}

/** As long as a JWT and of the same letters; nobody looks inside. */
export function fakeToken(bytes: number): string {
  return `eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.${randomBytes(bytes).toString('base64url')}`.slice(0, bytes)
}

function target(paths: readonly string[], index: number): string {
  return `${paths[index % paths.length]}/${1000 + (index % 9000)}?expand=lines&limit=20`
}

/** A request as Chrome sends it for `fetch` in a single-page application, here behind a TLS terminator. */
export function rawRequest(
  methodAndTarget: string,
  cookies: string | undefined,
  headers: readonly string[] = [],
): Buffer {
  return Buffer.from(
    [
      `${methodAndTarget} HTTP/1.1`,
      `Host: ${new URL(publicOrigin).host}`,
      'Connection: keep-alive',
      'sec-ch-ua-platform: "Linux"',
      'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36',
      'Accept: application/json',
      'sec-ch-ua: "Chromium";v="153", "Not_A Brand";v="99"',
      'token-handler-version: 1',
      'sec-ch-ua-mobile: ?0',
      'Sec-Fetch-Site: same-origin',
      'Sec-Fetch-Mode: cors',
      'Sec-Fetch-Dest: empty',
      `Referer: ${publicOrigin}/`,
      'Accept-Encoding: gzip, deflate, br, zstd',
      'Accept-Language: en-US,en;q=0.9',
      ...(cookies === undefined ? [] : [`Cookie: ${cookies}`]),
      ...headers,
      '\r\n',
    ].join('\r\n'),
    'latin1',
  )
}
