import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
} from 'jose'
import { systemClock, type Clock } from '@token-handler/shared'

/** A back-channel call as it arrived. */
export interface RecordedCall {
  readonly endpoint: Endpoint
  readonly authorization: string | undefined
  readonly form: URLSearchParams
}

export type Endpoint = 'discovery' | 'jwks' | 'token' | 'revocation' | 'par'

export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly form: URLSearchParams
  /** What a well-behaved server answers; making it has its effects, such as a rotated refresh token. */
  readonly standard: () => Promise<Answer>
}

/** Answers in place of the well-behaved server, or writes to `res` itself and returns nothing. */
export type Script = (exchange: Exchange) => Promise<Answer | void> | Answer | void

export interface IdTokenChanges {
  /** `undefined` takes a claim out. */
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** Sign with this key instead of the current one. */
  readonly key?: CryptoKey | Uint8Array
}

interface Grant {
  readonly nonce: string | undefined
  readonly subject: string
  refreshToken: string
  isRevoked: boolean
}

/**
 * An authorization server that does what a test says, and what a good one does where the test says nothing: one client
 * with a secret, PKCE, rotating refresh tokens whose reuse ends the grant. It has no pages: {@link authorize} answers in
 * place of the user.
 */
export class ScriptedAuthorizationServer {
  readonly clientId = 'scripted-client'
  readonly clientSecret: string = randomBytes(24).toString('base64url')
  /** Calls so far, oldest first. */
  readonly calls: RecordedCall[] = []
  /** All tokens and codes handed out so far. */
  readonly issued: string[] = []
  /** What the endpoints do instead of behaving well. */
  script: Partial<Record<Endpoint, Script>> = {}
  /** Members that replace or (as `undefined`) remove those of the metadata. */
  metadata: Record<string, unknown> = {}
  /** Members that replace or remove those of every token answer. */
  tokenAnswer: Record<string, unknown> = {}
  /** Changes to every ID token. */
  idToken: IdTokenChanges = {}
  subject = 'subject-1'
  /** Whoever asks is taken for the client. */
  trustsEverybody = false
  /** Refresh tokens change at every use, and using an old one ends the grant. */
  isRotating = true
  readonly #clock: Clock
  readonly #server = createServer((req, res) => void this.#serve(req, res))
  readonly #codes = new Map<string, { nonce: string | undefined; challenge: string; redirectUri: string }>()
  readonly #grants: { grant: Grant; old: Set<string> }[] = []
  #keys: { kid: string; privateKey: CryptoKey; jwk: JWK }[] = []
  /** A test may put a path behind it; all endpoints are below it then. */
  issuer = ''

  private constructor(clock: Clock) {
    this.#clock = clock
  }

  static async start(clock: Clock = systemClock): Promise<ScriptedAuthorizationServer> {
    const server = new ScriptedAuthorizationServer(clock)
    await server.rotateKeys()
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    server.issuer = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`
    return server
  }

  /** A new signing key; the old ones are gone. */
  async rotateKeys(): Promise<void> {
    this.#keys = []
    await this.addKey('ES256')
  }

  /** Publishes one more signing key. The first one signs unless a test says otherwise. */
  async addKey(alg: string): Promise<{ kid: string; privateKey: CryptoKey }> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    const kid = randomBytes(6).toString('base64url')
    this.#keys.push({ kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig', alg } })
    return { kid, privateKey }
  }

  get jwks(): { keys: JWK[] } {
    return { keys: this.#keys.map(({ jwk }) => jwk) }
  }

  /** The user logs in and consents at once: the authorization response to an authorization request. */
  authorize(authorizationUrl: string | URL): URL {
    const request = new URL(authorizationUrl).searchParams
    const code = this.#issue('code')
    this.#codes.set(code, {
      nonce: request.get('nonce') ?? undefined,
      challenge: request.get('code_challenge') ?? '',
      redirectUri: request.get('redirect_uri') ?? '',
    })
    const response = new URL(request.get('redirect_uri') ?? '')
    for (const [name, value] of Object.entries({ code, state: request.get('state') ?? '', iss: this.issuer })) {
      response.searchParams.set(name, value)
    }
    return response
  }

  /** How often an endpoint was called. */
  count(endpoint: Endpoint, grantType?: string): number {
    return this.calls.filter(
      (call) => call.endpoint === endpoint && (grantType === undefined || call.form.get('grant_type') === grantType),
    ).length
  }

  isRevoked(refreshToken: string): boolean {
    const found = this.#grants.find(({ grant, old }) => grant.refreshToken === refreshToken || old.has(refreshToken))
    return found?.grant.isRevoked === true
  }

  /** Whether any refresh token still works. */
  get hasLiveGrant(): boolean {
    return this.#grants.some(({ grant }) => !grant.isRevoked)
  }

  async makeIdToken(
    nonce: string | undefined,
    accessToken: string,
    changes: IdTokenChanges = this.idToken,
  ): Promise<string> {
    const now = Math.floor(this.#clock.now() / 1000)
    const claims = {
      iss: this.issuer,
      aud: this.clientId,
      sub: this.subject,
      iat: now,
      exp: now + 300,
      nonce,
      auth_time: now - 10,
      sid: 'as-session-1',
      name: 'Søren Ångström',
      at_hash: createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'),
    }
    return this.#sign(claims, {}, changes)
  }

  /** A logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4) for the session that ID tokens name. */
  async makeLogoutToken(changes: IdTokenChanges = {}): Promise<string> {
    const now = Math.floor(this.#clock.now() / 1000)
    const claims = {
      iss: this.issuer,
      aud: this.clientId,
      sub: this.subject,
      sid: 'as-session-1',
      iat: now,
      exp: now + 120,
      jti: randomBytes(12).toString('base64url'),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    }
    return this.#sign(claims, { typ: 'logout+jwt' }, changes)
  }

  /** The same authorization response as one JWT (JARM section 2.3.1). */
  async signResponse(response: URL, changes: IdTokenChanges = {}): Promise<URL> {
    const now = Math.floor(this.#clock.now() / 1000)
    const claims = { aud: this.clientId, exp: now + 600, ...Object.fromEntries(response.searchParams) }
    const signed = new URL(response)
    signed.search = String(new URLSearchParams({ response: await this.#sign(claims, {}, changes) }))
    return signed
  }

  /** Members that a test sets to `undefined` are left out. */
  async #sign(claims: object, header: object, changes: IdTokenChanges): Promise<string> {
    const [signing] = this.#keys
    if (signing === undefined) throw new Error('no signing key')
    const payload: unknown = JSON.parse(JSON.stringify({ ...claims, ...changes.claims }))
    const fullHeader: unknown = JSON.parse(
      JSON.stringify({ alg: 'ES256', kid: signing.kid, ...header, ...changes.header }),
    )
    return new SignJWT(payload as JWTPayload)
      .setProtectedHeader(fullHeader as JWTHeaderParameters)
      .sign(changes.key ?? signing.privateKey)
  }

  async close(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '').split('?', 1)[0]?.slice(new URL(this.issuer).pathname.replace(/\/$/, '').length)
    const endpoint = (
      {
        '/.well-known/openid-configuration': 'discovery',
        '/jwks': 'jwks',
        '/token': 'token',
        '/revoke': 'revocation',
        '/par': 'par',
      } as const
    )[path ?? '']
    if (endpoint === undefined) {
      res.writeHead(404).end()
      return
    }
    const form = new URLSearchParams(await textOf(req))
    this.calls.push({ endpoint, authorization: req.headers.authorization, form })
    const standard = (): Promise<Answer> => this.#standard(endpoint, req, form)
    try {
      const script = this.script[endpoint]
      const answer = script === undefined ? await standard() : await script({ req, res, form, standard })
      if (answer !== undefined) write(res, answer)
    } catch {
      res.destroy()
    }
  }

  async #standard(endpoint: Endpoint, req: IncomingMessage, form: URLSearchParams): Promise<Answer> {
    switch (endpoint) {
      case 'discovery':
        return json(200, this.#metadata())
      case 'jwks':
        return json(200, this.jwks)
      case 'par':
        return json(201, { request_uri: `urn:ietf:params:oauth:request_uri:${this.#issue('request')}`, expires_in: 60 })
      case 'revocation':
        this.#revoke(form.get('token') ?? '')
        return { status: 200, body: '' }
      case 'token':
        break
    }
    if (!this.trustsEverybody && !this.#isClient(req.headers.authorization))
      return json(401, { error: 'invalid_client' })
    return form.get('grant_type') === 'refresh_token' ? this.#refresh(form) : this.#redeem(form)
  }

  /** Basic credentials are form-encoded before they are joined (RFC 6749 section 2.3.1). */
  #isClient(authorization = ''): boolean {
    const joined = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString('utf8')
    const [id = '', secret = ''] = joined.split(':').map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
    return id === this.clientId && secret === this.clientSecret
  }

  #metadata(): Record<string, unknown> {
    return {
      issuer: this.issuer,
      authorization_endpoint: `${this.issuer}/authorize`,
      token_endpoint: `${this.issuer}/token`,
      jwks_uri: `${this.issuer}/jwks`,
      revocation_endpoint: `${this.issuer}/revoke`,
      end_session_endpoint: `${this.issuer}/logout?theme=dark`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      ...this.metadata,
    }
  }

  async #redeem(form: URLSearchParams): Promise<Answer> {
    const code = form.get('code') ?? ''
    const known = this.#codes.get(code)
    this.#codes.delete(code)
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (known === undefined || challenge !== known.challenge || form.get('redirect_uri') !== known.redirectUri) {
      return json(400, { error: 'invalid_grant' })
    }
    const grant: Grant = {
      nonce: known.nonce,
      subject: this.subject,
      refreshToken: this.#issue('refresh'),
      isRevoked: false,
    }
    this.#grants.push({ grant, old: new Set() })
    return this.#tokens(grant)
  }

  async #refresh(form: URLSearchParams): Promise<Answer> {
    const token = form.get('refresh_token') ?? ''
    const found = this.#grants.find(({ grant, old }) => grant.refreshToken === token || old.has(token))
    if (found === undefined || found.grant.isRevoked) return json(400, { error: 'invalid_grant' })
    if (found.old.has(token)) {
      found.grant.isRevoked = true
      return json(400, { error: 'invalid_grant' })
    }
    if (this.isRotating) {
      found.old.add(token)
      found.grant.refreshToken = this.#issue('refresh')
    }
    return this.#tokens(found.grant)
  }

  async #tokens({ nonce, refreshToken }: Grant): Promise<Answer> {
    const { access_token: wanted } = this.tokenAnswer
    const accessToken = typeof wanted === 'string' ? wanted : this.#issue('access')
    const idToken = await this.makeIdToken(nonce, accessToken)
    this.issued.push(idToken)
    return json(200, {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: 300,
      refresh_token: refreshToken,
      id_token: idToken,
      scope: 'openid profile',
      ...this.tokenAnswer,
    })
  }

  #revoke(token: string): void {
    for (const { grant, old } of this.#grants) {
      if (grant.refreshToken === token || old.has(token)) grant.isRevoked = true
    }
  }

  /** Every secret says what it is, so that a leak can be told from the text alone. */
  #issue(kind: string): string {
    const value = `canary-${kind}-${randomBytes(16).toString('hex')}`
    this.issued.push(value)
    return value
  }
}

export function json(status: number, body: unknown): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

function write(res: ServerResponse, { status, headers = {}, body }: Answer): void {
  res.writeHead(status, headers).end(body)
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
