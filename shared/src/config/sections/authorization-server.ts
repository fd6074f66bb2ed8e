import { z } from 'zod'
import { httpUrl, parameterName, seconds, secretText } from './values.ts'

const clientAuthentication = z
  .discriminatedUnion('method', [
    z.strictObject({
      method: z
        .enum(['client_secret_basic', 'client_secret_post'])
        .describe('Client secret in the Authorization header, or in the body.'),
      client_secret: secretText.min(1).describe('The secret. Use ${ENV_VARIABLE} or file:PATH.'),
    }),
    z.strictObject({
      method: z.literal('private_key_jwt').describe('Signed assertion (RFC 7523); no shared secret.'),
      private_key: z
        .string()
        .min(1)
        .describe('Private key: a JWK as JSON, or PKCS#8 PEM. Use ${ENV_VARIABLE} or file:PATH.'),
      algorithm: z
        .enum(['ES256', 'ES384', 'PS256', 'RS256', 'EdDSA', 'Ed25519'])
        .default('ES256')
        .describe('Signature algorithm of the assertion.'),
      kid: z.string().min(1).optional().describe('Key id in the assertion; taken from the JWK unless given.'),
    }),
  ])
  .describe('How the agent authenticates at the authorization server (OpenID Connect Core section 9).')

export const authorizationServer = z.strictObject({
  issuer: httpUrl.describe('Issuer, exactly as its metadata says it (RFC 8414 section 3.3).'),
  client_id: z.string().min(1).describe('Client id, as registered.'),
  client_authentication: clientAuthentication.optional().describe('Needed wherever the agent runs.'),
  redirect_uri: httpUrl.describe(
    "A page of the SPA, exactly as registered; the SPA posts its query to the agent's login/end.",
  ),
  post_logout_redirect_uri: httpUrl
    .optional()
    .describe('A page of the SPA, exactly as registered, to come back to after a logout.'),
  scope: z
    .string()
    .refine((text) => text.split(' ').includes('openid'), 'must contain openid')
    .default('openid profile')
    .describe('Scopes to ask for, separated by spaces. Many servers give refresh tokens for offline_access only.'),
  resource: z.array(z.url()).default([]).describe('Resource indicators (RFC 8707).'),
  authorization_parameters: z
    .record(parameterName, z.string().min(1))
    .default({})
    .describe(
      'Parameters of every authorization request, such as audience. The SPA cannot replace them, unless agent.authorization_parameters names them.',
    ),
  id_token_algorithms: z
    .array(
      z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']),
    )
    .min(1)
    .default(['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'])
    .describe(
      'Signature algorithms accepted on ID tokens, logout tokens and signed responses, whatever the metadata says.',
    ),
  require_iss: z
    .boolean()
    .default(false)
    .describe('Demand the iss response parameter (RFC 9207) even where metadata is silent.'),
  response_mode: z
    .enum(['query', 'jwt'])
    .default('query')
    .describe(
      'How the authorization response comes: as plain parameters, or signed (JARM); register the client for the same.',
    ),
  pushed_authorization_requests: z
    .enum(['auto', 'require', 'off'])
    .default('auto')
    .describe('PAR (RFC 9126): auto uses it where the metadata offers or demands it.'),
  timeout_seconds: seconds(45, 1, 120).describe('Limit of one call to the authorization server.'),
  clock_skew_seconds: seconds(30, 0, 60).describe("Tolerance for the authorization server's clock."),
})
