import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose'
import { ApiError, insufficientScope, invalidToken, tokenMissing } from './errors.ts'
import type { ExampleApiOptions } from './server.ts'

/** The claims of a verified access token. */
export interface AccessToken {
  sub: string
  clientId: string
  scopes: ReadonlySet<string>
  aud: string | string[]
  iss: string
  /** Seconds since the epoch. */
  exp: number
}

/**
 * Verifies access tokens as RFC 9068 section 4 asks: signature by the issuer's published keys, `typ`, `iss`, `aud`, `exp`.
 * @returns A function from the Authorization header to the token; it throws `ApiError` 401, or 503 while the keys are out of reach.
 */
export function createAccessTokenVerifier({ issuer, audience, jwksUri }: ExampleApiOptions) {
  let keys: Promise<JWTVerifyGetKey> | undefined

  function issuerKeys(): Promise<JWTVerifyGetKey> {
    keys ??= discoverJwksUri(issuer, jwksUri).then((uri) => createRemoteJWKSet(new URL(uri)))
    // A failed look-up is tried again at the next request.
    keys.catch(() => (keys = undefined))
    return keys
  }

  return async (authorization: string | undefined): Promise<AccessToken> => {
    const [, token] = /^bearer +([\w~+/.-]+=*)$/i.exec(authorization ?? '') ?? []
    if (token === undefined) throw authorization === undefined ? tokenMissing() : invalidToken()
    try {
      const { payload } = await jwtVerify(token, await issuerKeys(), {
        issuer,
        audience,
        typ: 'at+jwt',
        algorithms: ['ES256', 'ES384', 'ES512', 'PS256', 'RS256', 'EdDSA', 'Ed25519'],
        requiredClaims: ['exp', 'iat', 'sub', 'client_id'],
      })
      return accessTokenFrom(payload)
    } catch (error) {
      if (isAboutTheToken(error)) throw invalidToken()
      throw new ApiError(503, 'keys_unavailable', 'The keys of the authorization server are out of reach.', {
        'Retry-After': '1',
      })
    }
  }
}

/**
 * Checks that a token may be used for something.
 * @throws ApiError 403 `insufficient_scope` (RFC 6750 section 3.1).
 */
export function requireScope(token: AccessToken, scope: string): void {
  if (!token.scopes.has(scope)) throw insufficientScope(scope)
}

async function discoverJwksUri(issuer: string, configured: string | undefined): Promise<string> {
  if (configured !== undefined) return configured
  const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const metadata = (await response.json()) as { issuer?: string; jwks_uri?: string }
  if (metadata.issuer !== issuer || metadata.jwks_uri === undefined) throw new Error('metadata of another issuer')
  return metadata.jwks_uri
}

/** jose's own errors speak of the token, except those about fetching the keys. */
function isAboutTheToken(error: unknown): boolean {
  const aboutKeys = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid
  // The plain class is what jose throws when the key set does not answer with 200 or with JSON.
  return error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC' && !aboutKeys
}

function accessTokenFrom(payload: JWTPayload): AccessToken {
  const scope = payload['scope']
  return {
    sub: String(payload.sub),
    clientId: String(payload['client_id']),
    scopes: new Set(typeof scope === 'string' ? scope.split(' ').filter((value) => value !== '') : []),
    aud: payload.aud ?? [],
    iss: String(payload.iss),
    exp: Number(payload.exp),
  }
}
