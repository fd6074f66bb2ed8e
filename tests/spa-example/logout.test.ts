import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { signOut } from '../support/sign-in.ts'
import { AUDIENCE, discover, login, POST_LOGOUT_REDIRECT_URI, REDIRECT_URI } from './code-flow.ts'

describe('RP-initiated logout', () => {
  const received: { contentType: string | undefined; body: URLSearchParams }[] = []
  const problems: string[] = []
  let receiver: Server
  let receiverStatus: number
  let server: AuthorizationServer
  let config: client.Configuration
  let jar: CookieJar

  async function receive(req: IncomingMessage, res: ServerResponse): Promise<void> {
    received.push({ contentType: req.headers['content-type'], body: new URLSearchParams(await text(req)) })
    res.writeHead(receiverStatus).end()
  }

  beforeAll(async () => {
    // Inside of a test file oidc-provider cannot see Node's HTTP dispatcher, which is not used anyway, and says so.
    jest.spyOn(console, 'warn').mockReturnValueOnce()
    receiver = createServer((req, res) => void receive(req, res))
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    server = await startAuthorizationServer({
      clients: {
        redirectUris: [REDIRECT_URI],
        postLogoutRedirectUris: [POST_LOGOUT_REDIRECT_URI],
        backchannelLogoutUri: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/backchannel-logout`,
      },
      apiAudience: AUDIENCE,
      logger: {
        warn: (_details, message) => problems.push(message),
        error: (_details, message) => problems.push(message),
      },
    })
    config = await discover(server, 'secret')
  })

  afterAll(async () => {
    await server.close()
    receiver.close()
  })

  beforeEach(() => {
    received.length = 0
    problems.length = 0
    receiverStatus = 200
    jar = new CookieJar()
  })

  function logOut(): Promise<URL> {
    const logoutUrl = client.buildEndSessionUrl(config, {
      client_id: 'spa-example',
      post_logout_redirect_uri: POST_LOGOUT_REDIRECT_URI,
      state: 'state-1',
    })
    return signOut({ logoutUrl, postLogoutRedirectUri: POST_LOGOUT_REDIRECT_URI, jar })
  }

  it('returns to the application with its state', async () => {
    await login(config, { jar })
    const returned = await logOut()
    expect(returned.href).toBe(`${POST_LOGOUT_REDIRECT_URI}?state=state-1`)
  })

  it('ends the session: the next login asks again', async () => {
    await login(config, { jar })
    await logOut()
    await expect(login(config, { jar, parameters: { prompt: 'none' } })).rejects.toMatchObject({
      error: 'login_required',
    })
  })

  it('ends the refresh tokens of every login in the session', async () => {
    const first = await login(config, { jar })
    const second = await login(config, { jar })
    await logOut()
    for (const tokens of [first, second]) {
      const refresh = client.refreshTokenGrant(config, tokens.refresh_token ?? '')
      await expect(refresh).rejects.toMatchObject({ error: 'invalid_grant' })
      expect(await client.tokenIntrospection(config, tokens.refresh_token ?? '')).toEqual({ active: false })
    }
  })

  it('ends the refresh token even if offline_access was granted', async () => {
    const tokens = await login(config, { jar, parameters: { scope: 'openid offline_access', prompt: 'consent' } })
    await logOut()
    const refresh = client.refreshTokenGrant(config, tokens.refresh_token ?? '')
    await expect(refresh).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('leaves the session of another browser alone', async () => {
    const elsewhere = await login(config)
    await login(config, { jar })
    await logOut()
    const refresh = client.refreshTokenGrant(config, elsewhere.refresh_token ?? '')
    await expect(refresh).resolves.toHaveProperty('access_token')
  })

  it('posts a logout token to the client before it returns', async () => {
    const tokens = await login(config, { jar })
    await logOut()
    expect(received).toHaveLength(1)
    expect(received[0]?.contentType).toMatch('application/x-www-form-urlencoded')
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
    const { payload, protectedHeader } = await jwtVerify(received[0]?.body.get('logout_token') ?? '', keys, {
      issuer: server.issuer,
      audience: 'spa-example',
    })
    expect(protectedHeader.typ).toBe('logout+jwt')
    expect(payload).toMatchObject({
      sub: 'demo',
      sid: tokens.claims()?.['sid'],
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    })
    expect(payload).not.toHaveProperty('nonce')
  })

  it('does not fail when the client refuses the logout token, and tells the logger', async () => {
    receiverStatus = 500
    await login(config, { jar })
    await expect(logOut()).resolves.toBeInstanceOf(URL)
    expect(problems).toContain('backchannel.error')
  })

  it('works without a session, as a repeated logout does', async () => {
    const returned = await logOut()
    expect(returned.searchParams.get('state')).toBe('state-1')
  })

  it('asks first: a request that another site made does not end the session', async () => {
    const tokens = await login(config, { jar })
    const url = `${server.issuer}/session/end?client_id=spa-example`
    const page = await fetch(url, { headers: { cookie: jar.header(url) } })
    expect(await page.text()).toContain('Sign out?')
    const forged = new URL('/session/end/confirm', server.issuer)
    const answer = await fetch(forged, {
      method: 'POST',
      headers: { cookie: jar.header(forged) },
      body: new URLSearchParams({ logout: 'yes', xsrf: 'guessed' }),
    })
    expect(answer.status).toBe(400)
    await expect(client.refreshTokenGrant(config, tokens.refresh_token ?? '')).resolves.toHaveProperty('access_token')
  })

  it('refuses to return to a URI that is not registered', async () => {
    const url = `${server.issuer}/session/end?client_id=spa-example&post_logout_redirect_uri=${encodeURIComponent('http://evil.test/')}`
    const answer = await fetch(url, { redirect: 'manual' })
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('post_logout_redirect_uri')
  })
})
