import { z } from 'zod'

/**
 * The configuration file `token-handler.yaml`: this schema is its type, its defaults, its check, and the JSON Schema in
 * docs/. Keys that it does not know are refused; no secret has a default.
 */

const seconds = (fallback: number, min = 1, max = 31_536_000) => z.int().min(min).max(max).default(fallback)

const httpUrl = z.string().refine(isHttpUrl, 'must be an absolute http or https URL')

/** Host names as they are in use: the URL standard also takes `*` and the like. */
function isHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return /^https?:$/.test(protocol) && /^(?:[A-Za-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(hostname)
}

const origin = httpUrl.refine((text) => URL.canParse(text) && new URL(text).origin === text, {
  error: 'must be an origin: scheme, host and optional port in lower case, without path or trailing slash',
})

const publicPath = z
  .string()
  .refine((text) => text === '/' || /^(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9._~-]+)+$/.test(text), {
    error:
      'must be a path such as /api: it starts with a slash and has no trailing slash, dot segment, query or escape',
  })

const parameterName = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be a parameter name')
const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope, without spaces')
const method = z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

const listen = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: z.int().min(0).max(65_535).describe('Port to listen on.'),
})

const publicListen = listen.extend({
  port: listen.shape.port.default(3000).describe('Port to listen on.'),
  tls: z
    .strictObject({
      certificate_file: z.string().min(1).describe('PEM: the certificate, then those that lead to its root.'),
      private_key_file: z.string().min(1).describe('PEM: the private key.'),
      minimum_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.3').describe('Oldest TLS version that is taken.'),
    })
    .optional()
    .describe('Terminates TLS here; changed files are read without a restart.'),
})

const rateLimitFields = {
  requests: z.int().min(1).max(1_000_000).describe('Requests in one window.'),
  window_seconds: seconds(60, 1, 3600).describe('Length of the window.'),
}

const clientAuthentication = z
  .discriminatedUnion('method', [
    z.strictObject({
      method: z
        .enum(['client_secret_basic', 'client_secret_post'])
        .describe('Client secret in the Authorization header, or in the body.'),
      client_secret: z.string().min(1).describe('The secret. Use ${ENV_VARIABLE} or file:PATH.'),
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

const authorizationServer = z.strictObject({
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
  id_token_algorithms: z
    .array(
      z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']),
    )
    .min(1)
    .default(['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'])
    .describe('Signature algorithms accepted on ID tokens, whatever the metadata says.'),
  require_iss: z
    .boolean()
    .default(false)
    .describe('Demand the iss response parameter (RFC 9207) even where metadata is silent.'),
  pushed_authorization_requests: z
    .enum(['auto', 'require', 'off'])
    .default('auto')
    .describe('PAR (RFC 9126): auto uses it where the metadata offers it.'),
  timeout_seconds: seconds(45, 1, 120).describe('Limit of one call to the authorization server.'),
  clock_skew_seconds: seconds(30, 0, 60).describe("Tolerance for the authorization server's clock."),
})

const agent = z
  .strictObject({
    authorization_parameters: z
      .array(parameterName)
      .default([])
      .describe(
        'Parameters the SPA may add to an authorization request, besides scope, prompt, ui_locales, login_hint, acr_values and max_age.',
      ),
    refresh_parameters: z.array(parameterName).default([]).describe('Form fields the SPA may add to a refresh.'),
    id_token_claims: z
      .array(z.string().min(1))
      .default(['sub', 'name', 'preferred_username', 'email', 'email_verified', 'picture', 'auth_time', 'acr', 'amr'])
      .describe('ID-token claims that the session answer shows to the SPA.'),
    detailed_errors: z.boolean().default(false).describe('Send detailed_error with errors; for development.'),
    on_superseded: z
      .enum(['refuse', 'end_session'])
      .default('refuse')
      .describe('What a replaced cookie that is shown again leads to.'),
    rate_limit: z
      .strictObject({
        enabled: z
          .boolean()
          .default(true)
          .describe('Limit how often one client address may call the agent; more is answered 429.'),
        // Ten thousand people behind one address, each with a refresh every two minutes.
        requests: rateLimitFields.requests
          .default(6000)
          .describe('Logins begun and ended and refreshes together; session may be asked ten times as often.'),
        window_seconds: rateLimitFields.window_seconds,
      })
      .prefault({}),
    logout: z
      .strictObject({
        id_token_hint: z
          .boolean()
          .default(false)
          .describe('Log out through a redirect of the agent that carries an id_token_hint, which the SPA never sees.'),
      })
      .prefault({}),
  })
  .prefault({})

const cookies = z
  .strictObject({
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9]{1,16}$/, 'must be 1 to 16 letters or digits')
      .default('th')
      .describe('Part of every cookie name; applications on one host need different ones.'),
    access_token_path: publicPath
      .default('/api')
      .describe('Public path of the OAuth Proxy; the access cookie is sent there only.'),
    agent_path: publicPath.default('/oauth-agent').describe('Public path of the OAuth Agent.'),
    persistent: z.boolean().default(true).describe('false: the cookies end with the browser session.'),
    header_budget: z
      .int()
      .min(1024)
      .max(65_536)
      .default(7168)
      .describe('Most bytes our cookies may add to the Cookie header of one path.'),
    response_budget: z
      .int()
      .min(1024)
      .max(65_536)
      // Together with our other headers, up to 700 bytes, below the 4,096 that nginx takes unless told otherwise.
      .default(3328)
      .describe('Most bytes of Set-Cookie in one answer; raise proxy_buffer_size in nginx before you raise it.'),
  })
  .prefault({})

const session = z
  .strictObject({
    absolute_seconds: seconds(43_200, 60).describe('A session is over after this, whatever happens.'),
    idle_seconds: seconds(3600, 60).describe('A session is over after this without activity.'),
    access_cookie_seconds: seconds(900, 5).describe('Longest life of an access cookie.'),
    access_token_seconds: seconds(300, 5).describe('Assumed life of an access token whose answer lacks expires_in.'),
  })
  .prefault({})

const route = z.strictObject({
  path: publicPath.describe('Public path; matches itself and everything below it. The longest match wins.'),
  upstream: httpUrl
    .refine((text) => URL.canParse(text) && new URL(text).href === `${new URL(text).origin}/`, {
      error: 'must be scheme, host and port only; a path goes to upstream_path',
    })
    .describe('Scheme, host and port of the API.'),
  upstream_path: publicPath
    .optional()
    .describe('Replaces the matched path towards the API; without it the path goes on unchanged.'),
  methods: z
    .array(method)
    .min(1)
    .default(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
    .describe('Methods that may pass.'),
  session: z
    .enum(['required', 'none'])
    .default('required')
    .describe('none: no session, no bearer token; the guards still apply.'),
  scopes: z.array(scopeToken).default([]).describe('Scopes the session must have been granted.'),
  claims: z
    .record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()])).min(1))
    .default({})
    .describe('ID-token claims and their accepted values.'),
  acr_values: z.array(z.string().min(1)).default([]).describe('Accepted authentication contexts.'),
  max_age: z.int().min(1).optional().describe('Longest time in seconds since the user authenticated.'),
  navigable: z.boolean().default(false).describe('May be opened as a page of its own, such as a download.'),
  embeddable: z.boolean().default(false).describe('May be shown in a frame.'),
  sandbox: z.boolean().default(true).describe('Answers carry Content-Security-Policy: sandbox.'),
  forward_cookies: z.array(z.string().min(1)).default([]).describe('Names of other cookies that the API gets.'),
  max_body_bytes: z
    .int()
    .min(0)
    .optional()
    .describe('Largest request body; unlimited unless given, for bodies are streamed.'),
  connect_timeout_seconds: seconds(5).describe('Longest wait for a connection to the API.'),
  response_timeout_seconds: seconds(60).describe('Longest wait for the first byte of the answer.'),
  idle_timeout_seconds: seconds(300).describe('Longest silence within an answer.'),
})

const proxy = z
  .strictObject({
    routes: z.array(route).default([]).describe('What can be reached through the proxy, and how; nothing else can.'),
    trusted_proxies: z
      .array(
        z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'must be an address or a network such as 10.0.0.0/8'),
      )
      .default([])
      .describe('Peers whose X-Forwarded-* headers count.'),
    identity_headers: z
      .array(z.string().regex(/^[A-Za-z0-9_-]{1,64}\*?$/, 'must be a header name, with a * at its end for any ending'))
      .default([])
      .describe(
        'Further request headers that an API takes for an identity and no client may send, such as X-Tenant-*.',
      ),
    max_waiting_requests: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(1024)
      .describe('Most requests to one API that may wait for the beginning of their answer; more are answered 503.'),
    rate_limit: z
      .strictObject({
        per_session: z
          .strictObject(rateLimitFields)
          .optional()
          .describe('Of one session, over all routes; no limit unless given.'),
        per_address: z
          .strictObject(rateLimitFields)
          .optional()
          .describe('Of one client address, IPv6 by /56; no limit unless given.'),
      })
      .prefault({})
      .describe('More is answered 429; each process counts for itself.'),
  })
  .prefault({})

const spa = z
  .union(
    [
      z.strictObject({
        root: z.string().min(1).describe('Folder of the built SPA, with index.html and callback.html.'),
      }),
      z.strictObject({
        dev_server: origin.describe('Development server on this machine, such as http://localhost:5173 for Vite.'),
      }),
    ],
    { error: 'takes either root (a folder) or dev_server (an origin on this machine)' },
  )
  .describe('Serves the SPA at /, besides agent and proxy.')

const onLedgerLoss = z
  .enum(['adopt', 'end_all'])
  .default('adopt')
  .describe('After the store lost its records: adopt goes on with what the cookies say, end_all ends every session.')

const ledger = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('sqlite').describe('All processes of one machine share one file.'),
      file: z
        .string()
        .min(1)
        .default('./token-handler.db')
        .describe('Path on a disk of this machine; made if absent, readable by its owner only.'),
      on_ledger_loss: onLedgerLoss,
    }),
    z.strictObject({
      type: z.literal('redis').describe('Redis 6 or newer, or Valkey, for any number of machines.'),
      url: z
        .string()
        .refine((text) => URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol), {
          error: 'must be a redis or rediss URL',
        })
        .describe('rediss://user:password@host:port/database; rediss is TLS. Use ${ENV_VARIABLE} or file:PATH.'),
      key_prefix: z
        .string()
        .regex(/^[A-Za-z0-9._:-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, colons, dashes or underscores')
        .default('token-handler')
        .describe('All keys start with {key_prefix}: and so lie in one slot of a cluster.'),
      ca_file: z.string().min(1).optional().describe('PEM of the authority that signed the TLS certificate.'),
      on_ledger_loss: onLedgerLoss,
    }),
    z.strictObject({
      type: z.literal('memory').describe('One process, for tests and trials: a restart forgets everything.'),
    }),
    z.strictObject({
      type: z.literal('none').describe('No ledger: docs/sessions.md tells what does not hold then.'),
    }),
  ])
  .prefault({ type: 'sqlite' })
  .describe('Where sessions are recorded; never holds a readable token.')

export const configSchema = z
  .strictObject({
    public_url: origin.describe('Origin under which browsers reach agent and proxy.'),
    trusted_origins: z.array(origin).min(1).optional().describe('Origins of the SPA; the public_url unless given.'),
    listen: publicListen.prefault({}),
    admin: listen.optional().describe('Listener for /livez and /readyz; never the public one.'),
    shutdown_seconds: seconds(25, 0, 600).describe('After SIGTERM, how long open requests may go on.'),
    authorization_server: authorizationServer,
    agent,
    cookies,
    session,
    keys: z.strictObject({ file: z.string().min(1).describe('Key file, made by `token-handler keys generate`.') }),
    ledger,
    proxy,
    spa: spa.optional(),
    log: z
      .strictObject({
        level: z
          .enum(['debug', 'info', 'warn', 'error', 'silent'])
          .default('info')
          .describe('Least level that is logged.'),
      })
      .prefault({}),
  })
  .describe('Configuration of the Token Handler')

/** The checked configuration, with every default filled in. */
export type Config = z.output<typeof configSchema>
/** What a file may hold. */
export type ConfigInput = z.input<typeof configSchema>
