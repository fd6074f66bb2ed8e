import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { until } from '../support/until.ts'
import { submitCredentials, useDemo } from './support.ts'

/**
 * Script that was injected into the SPA cannot take the session's tokens, so it asks for its own: the user is signed in at
 * the authorization server, and `prompt=none` asks nothing. With a public client that would be the end of it.
 */
const bed = useDemo()
const codeVerifier = randomBytes(32).toString('base64url')

/** The attacker's authorization request: all that it needs is public. */
function silentRequest(): string {
  const { authorizationServer, url } = bed.demo
  const parameters = new URLSearchParams({
    client_id: authorizationServer.clients.secret.clientId,
    redirect_uri: `${url}/callback`,
    response_type: 'code',
    scope: 'openid orders:read',
    prompt: 'none',
    state: 'attacker',
    nonce: 'attacker',
    code_challenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  return `${authorizationServer.issuer}/auth?${parameters}`
}

function token(parameters: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${bed.demo.authorizationServer.issuer}/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      redirect_uri: `${bed.demo.url}/callback`,
      ...parameters,
    }),
  })
}

async function errorOf(answer: Response): Promise<{ status: number; error: string | undefined }> {
  return { status: answer.status, error: ((await answer.json()) as { error?: string }).error }
}

/** The codes that reached the callback page, as a thief of access logs sees them. */
function codesAtCallback(): string[] {
  return bed.demo.wire.requests.flatMap(({ path, url }) => {
    const code = path === '/callback' ? new URL(url, bed.demo.url).searchParams.get('code') : null
    return code === null ? [] : [code]
  })
}

async function sidOf(page: Page): Promise<string | undefined> {
  return (await page.context().cookies()).find(({ name }) => name.endsWith('-sid'))?.value
}

describe('a silent flow without the client’s credentials fails', () => {
  it('in a frame: the SPA’s own policy lets no frame load', async () => {
    const page = await bed.logIn()
    const before = codesAtCallback().length
    const outcome = await page.evaluate(async (src) => {
      const violated = new Promise<string>((resolve) => {
        document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))
      })
      const frame = document.createElement('iframe')
      frame.src = src
      document.body.append(frame)
      return violated
    }, silentRequest())
    expect(outcome).toBe('frame-src')
    expect(codesAtCallback().length).toBe(before)
  })

  it('in a popup: the code arrives where its script cannot look, and is redeemed by nobody', async () => {
    const page = await bed.logIn()
    const before = {
      sid: await sidOf(page),
      codes: codesAtCallback().length,
      tokens: bed.demo.authorizationServer.issued.length,
    }
    const popup = page.waitForEvent('popup')
    await page.evaluate((url) => {
      Object.assign(window, { stolen: window.open(url, 'popup') })
    }, silentRequest())
    await until('the code at the callback page', () => codesAtCallback().length > before.codes)
    await (await popup).getByTestId('logout').waitFor()
    const seen = await page.evaluate(() => {
      const { stolen } = window as unknown as { stolen: Window | null }
      try {
        return stolen === null || stolen.closed ? 'cut off' : stolen.location.href
      } catch {
        return 'refused'
      }
    })
    expect(seen).toBe('cut off')
    expect(await (await popup).evaluate(() => window.opener === null)).toBe(true)
    expect(await sidOf(page)).toBe(before.sid)
    expect(bed.demo.authorizationServer.issued.length).toBe(before.tokens)

    const code = codesAtCallback().at(-1) ?? ''
    const { clientId } = bed.demo.authorizationServer.clients.secret
    expect(await errorOf(await token({ code, code_verifier: codeVerifier, client_id: clientId }))).toEqual({
      status: 401,
      error: 'invalid_client',
    })
    const guessed = `Basic ${Buffer.from(`${clientId}:`).toString('base64')}`
    const refused = await errorOf(await token({ code, code_verifier: codeVerifier }, { authorization: guessed }))
    expect(refused.error).toMatch(/^invalid_(?:client|request)$/)
    expect(bed.demo.authorizationServer.issued.length).toBe(before.tokens)
  })

  it('control: with the client’s credentials the same code would have been good', async () => {
    const page = await bed.logIn()
    const before = codesAtCallback().length
    await page.evaluate((url) => void window.open(url, 'popup'), silentRequest())
    await until('the code at the callback page', () => codesAtCallback().length > before)
    const { clientId, clientSecret } = bed.demo.authorizationServer.clients.secret
    const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
    const code = codesAtCallback().at(-1) ?? ''
    expect((await token({ code, code_verifier: codeVerifier }, { authorization })).status).toBe(200)
  })

  it('with a stolen code of a real login: it is bound to a code verifier that never leaves the agent', async () => {
    const page = await bed.open()
    await page.route('**/login/end', (route) => route.abort())
    await page.getByTestId('login').click()
    await submitCredentials(page)
    await page.getByTestId('callback-failure').waitFor()
    const code = codesAtCallback().at(-1) ?? ''
    const { clientId, clientSecret } = bed.demo.authorizationServer.clients.secret
    const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
    expect(await errorOf(await token({ code, code_verifier: codeVerifier }, { authorization }))).toEqual({
      status: 400,
      error: 'invalid_grant',
    })
    expect(await errorOf(await token({ code, client_id: clientId }))).toEqual({ status: 401, error: 'invalid_client' })
  })

  it('from the page itself: the token endpoint lets no script read its answers', async () => {
    const page = await bed.logIn()
    const outcome = await page.evaluate(
      (url) =>
        fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'authorization_code' }) }).then(
          () => 'answered',
          (error: Error) => error.name,
        ),
      `${bed.demo.authorizationServer.issuer}/token`,
    )
    expect(outcome).toBe('TypeError')
  })
})
