import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWK } from 'jose'

/** Client metadata (RFC 7591 section 2) as oidc-provider takes it. */
export type ClientRegistration = Record<string, unknown> & { client_id: string }

/** What the two clients have in common. */
export interface ClientOptions {
  /** Exact redirect URIs (RFC 9700 section 4.1.3). */
  redirectUris: readonly string[]
  /** Where RP-initiated logout may lead. Default: nowhere. */
  postLogoutRedirectUris?: readonly string[]
  /** Where logout tokens are posted (OpenID Connect Back-Channel Logout 1.0). Default: nowhere. */
  backchannelLogoutUri?: string
  /** Client id of the client with a secret; the other one's has `-private-key` at its end. Default `spa-example`. */
  clientId?: string
  /** Default: a new random one. */
  clientSecret?: string
}

/** The clients with their credentials, as their owners need them. */
export interface Clients {
  /** Authenticates with `client_secret_basic`. */
  secret: { clientId: string; clientSecret: string }
  /** Authenticates with `private_key_jwt`, ES256. */
  privateKey: { clientId: string; privateKeyJwk: JWK }
}

/** Makes an EC P-256 key pair with a random `kid`. */
export async function generateSigningKey(): Promise<{ privateJwk: JWK; publicJwk: JWK }> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const kid = randomBytes(8).toString('base64url')
  const privateJwk: JWK = { ...(await exportJWK(privateKey)), kid, alg: 'ES256', use: 'sig' }
  const { d: _secret, ...publicJwk } = privateJwk
  return { privateJwk, publicJwk }
}

/** Makes both clients' credentials, and the registrations that go with them. */
export async function createClients(
  options: ClientOptions,
): Promise<{ clients: Clients; registrations: ClientRegistration[] }> {
  const { clientId = 'spa-example', clientSecret = randomBytes(32).toString('base64url') } = options
  const { privateJwk, publicJwk } = await generateSigningKey()
  const clients: Clients = {
    secret: { clientId, clientSecret },
    privateKey: { clientId: `${clientId}-private-key`, privateKeyJwk: privateJwk },
  }
  const common = {
    redirect_uris: [...options.redirectUris],
    post_logout_redirect_uris: [...(options.postLogoutRedirectUris ?? [])],
    ...(options.backchannelLogoutUri === undefined
      ? {}
      : { backchannel_logout_uri: options.backchannelLogoutUri, backchannel_logout_session_required: true }),
  }
  const registrations = [
    {
      ...common,
      client_id: clients.secret.clientId,
      client_secret: clientSecret,
      token_endpoint_auth_method: 'client_secret_basic',
    },
    {
      ...common,
      client_id: clients.privateKey.clientId,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [publicJwk] },
    },
  ]
  return { clients, registrations }
}
