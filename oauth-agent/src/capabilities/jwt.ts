import { createHmac, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { epochSeconds, type Clock } from '@token-handler/shared'
import { readInput } from './input.ts'
import type { Issue } from './issue.ts'
import type { JwtOptions } from './options.ts'
import type { CapabilitySigner } from './signing.ts'

/** Explicit type (RFC 8725 section 3.11): no ID token, no logout token, no access token. */
const tokenType = 'capability+jwt'

/** What the token says by itself, whatever claims are configured. */
const reserved = new Set(['iss', 'aud', 'sub', 'iat', 'nbf', 'exp', 'jti', 'scope'])

/** Signs a short JWT (RFC 7519) for one audience. */
export function createJwt(options: JwtOptions, signer: CapabilitySigner, clock: Clock): Issue {
  const { audience, includeClaims, includeScopes, pairwiseSecret } = options
  return async ({ req, holder, ttlSeconds }) => {
    readInput(req, [])
    const { session, claimOf } = holder
    const granted = session.scope?.split(' ').filter((scope) => includeScopes.includes(scope)) ?? []
    const claims = includeClaims
      .filter((path) => !reserved.has(path))
      .map((path) => [path, claimOf(path)] as const)
      .filter(([, value]) => value !== undefined)
    const now = epochSeconds(clock)
    const token = await new SignJWT({
      ...Object.fromEntries(claims),
      ...(granted.length > 0 ? { scope: granted.join(' ') } : {}),
    })
      .setProtectedHeader({ alg: signer.algorithm, kid: signer.kid, typ: tokenType })
      .setIssuer(signer.issuer)
      .setAudience(audience)
      .setSubject(pairwiseSecret === undefined ? session.sub : pseudonym(pairwiseSecret, audience, session.sub))
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + ttlSeconds)
      .setJti(randomUUID())
      .sign(signer.key)
    return { token, expires_in: ttlSeconds }
  }
}

/** OpenID Connect Core section 8.1, keyed; the length before the audience keeps neighbours apart. */
function pseudonym(secret: string, audience: string, sub: string): string {
  return createHmac('sha256', secret).update(`${audience.length}:${audience}${sub}`).digest('base64url')
}
