import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { AnswerRefresh, TokenAnswer } from './refresh-faults.ts'
import { tokenId } from './history.ts'
import { TokenFamilies, type RefreshToken, type Rotation } from './token-families.ts'

interface Code {
  readonly subject: string
  readonly nonce: string
  readonly challenge: string
  readonly redirectUri: string
}

const kid = 'signing-key'
/** Parameter by which an agent says which one it is. */
const agentResource = /^urn:torture:agent:(\d+)$/

/**
 * An authorization server whose refresh tokens follow {@link Rotation} to the letter, and whose refresh endpoint meets with
 * the faults of a plan. One client, PKCE, no pages.
 */
export class TortureAuthorizationServer {
  readonly clientId = 'torture'
  readonly clientSecret: string = randomBytes(24).toString('base64url')
  readonly #families: TokenFamilies
  readonly #server: Server
  readonly #codes = new Map<string, Code>()
  readonly #live = new Map<string, RefreshToken>()
  readonly #key: { readonly privateKey: CryptoKey; readonly jwk: JWK }
  #answerRefresh: AnswerRefresh | undefined
  #logins = 0

  private constructor(families: TokenFamilies, key: { privateKey: CryptoKey; jwk: JWK }) {
    this.#families = families
    this.#key = key
    this.#server = createServer((req, res) => {
      this.#serve(req, res).catch(() => res.destroy())
    })
  }

  static async start(rotation: Rotation, graceMs: number): Promise<TortureAuthorizationServer> {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid, use: 'sig', alg: 'ES256' }
    const server = new TortureAuthorizationServer(new TokenFamilies(rotation, graceMs), { privateKey, jwk })
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get issuer(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** What makes an agent known by its number. */
  static resourceOf(agent: number): string {
    return `urn:torture:agent:${agent}`
  }

  /** From now on refresh requests are answered this way; until then there are none. */
  answerRefreshes(answer: AnswerRefresh): void {
    this.#answerRefresh = answer
  }

  /** The user logs in at once: the authorization response to an authorization request. */
  authorize(authorizationUrl: string): URL {
    const request = new URL(authorizationUrl).searchParams
    const code = randomBytes(16).toString('base64url')
    this.#codes.set(code, {
      subject: `subject-${(this.#logins += 1)}`,
      nonce: request.get('nonce') ?? '',
      challenge: request.get('code_challenge') ?? '',
      redirectUri: request.get('redirect_uri') ?? '',
    })
    const response = new URL(request.get('redirect_uri') ?? '')
    for (const [name, value] of Object.entries({ code, state: request.get('state') ?? '', iss: this.issuer })) {
      response.searchParams.set(name, value)
    }
    return response
  }

  /** Whether the newest refresh token of the family that this one belongs to still works. */
  isAlive(id: string): boolean {
    return this.#live.get(id)?.family.death === undefined
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '').split('?', 1)[0]
    const form = new URLSearchParams(await textOf(req))
    if (path === '/token') {
      await (form.get('grant_type') === 'refresh_token' ? this.#refresh(form, res) : this.#redeem(form, res))
    } else if (path === '/revoke') {
      const token = this.#families.find(form.get('token') ?? '')
      if (token !== undefined) this.#families.revoke(token, Date.now())
      res.writeHead(200).end()
    } else if (path === '/jwks') sendJson(res, 200, { keys: [this.#key.jwk] })
    else if (path === '/.well-known/openid-configuration') sendJson(res, 200, this.#metadata())
    else res.writeHead(404).end()
  }

  #metadata(): Record<string, unknown> {
    const { issuer } = this
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      revocation_endpoint: `${issuer}/revoke`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
    }
  }

  async #refresh(form: URLSearchParams, res: ServerResponse): Promise<void> {
    const value = form.get('refresh_token') ?? ''
    const agent = Number(agentResource.exec(form.get('resource') ?? '')?.[1] ?? NaN)
    const process = async (): Promise<TokenAnswer> => {
      const token = this.#families.find(value)
      const used = token === undefined ? undefined : this.#families.use(token, Date.now())
      if (used?.outcome !== 'granted') {
        return { status: 400, body: JSON.stringify({ error: 'invalid_grant' }), next: undefined }
      }
      this.#live.set(tokenId(used.next.value), used.next)
      return { status: 200, body: JSON.stringify(tokensOf(used.next)), next: used.next.value }
    }
    await this.#answerRefresh?.(agent, value, res, process)
  }

  async #redeem(form: URLSearchParams, res: ServerResponse): Promise<void> {
    const code = form.get('code') ?? ''
    const known = this.#codes.get(code)
    this.#codes.delete(code)
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (known === undefined || challenge !== known.challenge || form.get('redirect_uri') !== known.redirectUri) {
      return sendJson(res, 400, { error: 'invalid_grant' })
    }
    const token = this.#families.open(known.subject)
    this.#live.set(tokenId(token.value), token)
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: this.issuer, aud: this.clientId, sub: known.subject, nonce: known.nonce, iat: now }
    const idToken = new SignJWT({ ...claims, exp: now + 300 }).setProtectedHeader({ alg: 'ES256', kid })
    return sendJson(res, 200, { ...tokensOf(token), id_token: await idToken.sign(this.#key.privateKey) })
  }
}

/** Access tokens live so shortly that some requests find theirs expired, and some do not. */
function tokensOf({ value, depth }: RefreshToken): Record<string, unknown> {
  return {
    access_token: randomBytes(24).toString('base64url'),
    token_type: 'Bearer',
    expires_in: 2 + (depth % 9),
    refresh_token: value,
  }
}

function sendJson(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
