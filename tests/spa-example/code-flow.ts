import * as client from 'openid-client'
import type { AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'

export const REDIRECT_URI = 'http://localhost:3000/callback'
export const POST_LOGOUT_REDIRECT_URI = 'http://localhost:3000/'
export const AUDIENCE = 'urn:example:api'
export const SCOPE = 'openid profile email orders:read orders:write'

/** openid-client, configured as one of the two clients. */
export async function discover(
  server: AuthorizationServer,
  method: 'secret' | 'privateKey',
): Promise<client.Configuration> {
  const options = { execute: [client.allowInsecureRequests] }
  const issuer = new URL(server.issuer)
  if (method === 'secret') {
    const { clientId, clientSecret } = server.clients.secret
    return client.discovery(issuer, clientId, undefined, client.ClientSecretBasic(clientSecret), options)
  }
  const { clientId, privateKeyJwk } = server.clients.privateKey
  const key = await crypto.subtle.importKey('jwk', privateKeyJwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, [
    'sign',
  ])
  const auth = client.PrivateKeyJwt({ key, kid: privateKeyJwk.kid ?? '' })
  return client.discovery(issuer, clientId, undefined, auth, options)
}

/** One login from the authorization request to the tokens. */
export async function login(
  config: client.Configuration,
  { jar = new CookieJar(), pushed = false, parameters = {} }: LoginOptions = {},
): Promise<client.TokenEndpointResponse & client.TokenEndpointResponseHelpers> {
  const codeVerifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const request = {
    redirect_uri: REDIRECT_URI,
    scope: SCOPE,
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    ...parameters,
  }
  const authorizationUrl = pushed
    ? await client.buildAuthorizationUrlWithPAR(config, request)
    : client.buildAuthorizationUrl(config, request)
  const response = await signIn({ authorizationUrl, redirectUri: REDIRECT_URI, jar })
  return client.authorizationCodeGrant(config, response, {
    pkceCodeVerifier: codeVerifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
  })
}

interface LoginOptions {
  jar?: CookieJar
  pushed?: boolean
  parameters?: Record<string, string>
}
