import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { request } from 'undici'
import { publicOrigin } from '../site.ts'
import { fakeToken } from '../traffic.ts'

/** The public origin as it is behind the TLS terminator. */
export const plainOrigin = publicOrigin.replace('https:', 'http:')
export const clientId = 'spa'
export const clientSecret = crypto.randomUUID()
const lifetimeSeconds = 12 * 3600

/** An authorization server that lets everybody in at once, for contenders that get their cookies by logging in. */
export interface QuickAuthorizationServer {
  readonly issuer: string
  /** What everybody gets. */
  readonly accessToken: string
  close(): void
}

export async function startAuthorizationServer(): Promise<QuickAuthorizationServer> {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: '1', alg: 'RS256', use: 'sig' }] }
  const accessToken = fakeToken(900)
  /** Nonces by code. */
  const nonces = new Map<string, string>()
  let issuer = ''

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', issuer)
    if (pathname === '/authorize') {
      const code = crypto.randomUUID()
      nonces.set(code, searchParams.get('nonce') ?? '')
      const parameters = new URLSearchParams({ code, state: searchParams.get('state') ?? '' })
      res.writeHead(302, { location: `${searchParams.get('redirect_uri')}?${parameters}` }).end()
    } else if (pathname === '/token') {
      const form = new URLSearchParams(Buffer.concat(await req.toArray()).toString())
      const idToken = await new SignJWT({ nonce: nonces.get(form.get('code') ?? '') })
        .setProtectedHeader({ alg: 'RS256', kid: '1' })
        .setIssuer(issuer)
        .setAudience(clientId)
        .setSubject('a-user-of-the-benchmark')
        .setIssuedAt()
        .setExpirationTime(`${lifetimeSeconds}s`)
        .sign(privateKey)
      const body = { access_token: accessToken, token_type: 'Bearer', expires_in: lifetimeSeconds, id_token: idToken }
      sendJson(res, body)
    } else sendJson(res, pathname === '/jwks' ? jwks : metadata(issuer))
  }

  const server = createServer((req, res) => {
    answer(req, res).catch((error: unknown) => res.destroy(error as Error))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    issuer,
    accessToken,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function metadata(issuer: string): object {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
  }
}

function sendJson(res: ServerResponse, body: object): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/**
 * Logs in as a browser does, by following redirects; the public origin is at this port.
 * @returns The Cookie header of the session.
 * @throws Error when that does not lead to a session.
 */
export async function logIn(port: number): Promise<string> {
  const jar = new Map<string, string>()
  let url = `${plainOrigin}/api/orders/1`
  for (let step = 0; step < 5; step++) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const { host, hostname, pathname, search } = new URL(url)
    const isOurs = hostname === new URL(plainOrigin).hostname
    const { statusCode, headers, body } = await request(isOurs ? `http://127.0.0.1:${port}${pathname}${search}` : url, {
      headers: { host: isOurs ? hostname : host, accept: 'text/html', ...(cookie === '' ? {} : { cookie }) },
    })
    await body.dump()
    for (const line of [headers['set-cookie'] ?? []].flat()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') jar.delete(name)
      else jar.set(name, value)
    }
    if (statusCode === 200) return cookie
    if (typeof headers['location'] !== 'string') throw new Error(`the login stopped with status ${statusCode}`)
    url = headers['location']
  }
  throw new Error('the login went round in circles')
}
