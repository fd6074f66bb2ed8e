import { randomBytes } from 'node:crypto'
import {
  buildKeyRing,
  cookieNames,
  cookieTag,
  createCookieSealer,
  generateKeyFile,
  identityHash,
  type AccessCookieClaims,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type CookieSettings,
  type KeyFile,
} from '@token-handler/shared'

/** A browser's session as the OAuth Proxy sees it: the cookies, and the token that is sealed in them. */
export interface TestSession {
  readonly sid: string
  readonly accessToken: string
  /** Value of the Cookie header. */
  readonly cookie: string
  readonly claims: AccessCookieClaims
}

/** Seals access cookies with a real key ring, as the OAuth Agent does. */
export interface SessionKit {
  /** The key that seals. */
  readonly kid: string
  /** For a process that opens the cookies. */
  readonly keyFile: KeyFile
  readonly sealer: CookieSealer
  readonly names: CookieNames
  readonly settings: CookieSettings
  /** A session whose access cookie is good for five minutes, with the claims that are given. */
  session(claims?: Partial<AccessCookieClaims>): TestSession
}

/** The client that the keys work for. */
export const context = { issuer: 'https://as.example', clientId: 'spa-client' }

export function createSessionKit(clock: Clock, overrides: Partial<CookieSettings> = {}): SessionKit {
  const settings: CookieSettings = {
    prefix: 'th',
    accessTokenPath: '/api',
    agentPath: '/oauth-agent',
    persistent: true,
    headerBudgetBytes: 7168,
    responseBudgetBytes: 3891,
    ...overrides,
  }
  const keyFile = generateKeyFile(new Date(clock.now()))
  const ring = buildKeyRing(keyFile, context)
  const sealer = createCookieSealer(() => ring, clock)
  const names = cookieNames(settings)
  return {
    kid: ring.kids[0] ?? '',
    keyFile,
    sealer,
    names,
    settings,
    session(given = {}) {
      const now = Math.floor(clock.now() / 1000)
      const claims: AccessCookieClaims = {
        sid: randomBytes(16).toString('base64url'),
        exp: now + 300,
        iat: now,
        at: `canary-access-token-${randomBytes(24).toString('hex')}`,
        sst: clock.now(),
        sub: identityHash(context.issuer, 'user-1'),
        scope: 'openid orders',
        ...given,
      }
      const sealed = sealer.seal('access-token', claims)
      return {
        sid: claims.sid,
        accessToken: claims.at ?? '',
        claims,
        cookie: `${names.sid}=${claims.sid}; ${names.accessToken(cookieTag(claims.sid))}=${sealed}`,
      }
    },
  }
}
