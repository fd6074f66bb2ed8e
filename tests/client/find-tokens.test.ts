import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { EncryptJWT, SignJWT } from 'jose'
import { findTokens } from '../../spa-example/web/src/inspect/find-tokens.ts'

describe('token scanner of the example SPA', () => {
  it('finds a signed JWT within other text', async () => {
    const token = await new SignJWT({ sub: 'demo' }).setProtectedHeader({ alg: 'HS256' }).sign(randomBytes(32))
    expect(findTokens(`{"access_token":"${token}"}`)).toEqual([{ kind: 'JWT', start: `${token.slice(0, 6)}…` }])
  })

  it('finds an encrypted JWT', async () => {
    const header = { alg: 'dir', enc: 'A256GCM' }
    const token = await new EncryptJWT({ sub: 'demo' }).setProtectedHeader(header).encrypt(randomBytes(32))
    expect(findTokens(`th-at=${token}; Path=/`).map(({ kind }) => kind)).toEqual(['JWE'])
  })

  it.each(['base64url', 'base64', 'hex'] as const)('finds opaque tokens in %s, however often it looks', (encoding) => {
    for (let round = 0; round < 500; round += 1) {
      expect(findTokens(`x: ${randomBytes(32).toString(encoding)} y`)).toHaveLength(1)
    }
  })

  it.each([
    '',
    'Cross-Origin-Resource-Policy: same-origin, content-security-policy: sandbox',
    '{"is_logged_in":true,"access_token_expires_in":300,"access_token_lifetime":300}',
    'http://localhost:3000/assets/index-Bh2-s1A_.js http://localhost:3000/src/views/overview.tsx',
    'etag: W/"1f-2jmj7l5rSw0yVb/vlWAYkK/YBwk"',
    randomUUID(),
    'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  ])('takes nothing else for a token: %s', (text) => {
    expect(findTokens(text)).toEqual([])
  })

  it('tells presigned URLs from tokens, and sees a token within one', async () => {
    const signature = randomBytes(32).toString('hex')
    const url = `http://127.0.0.1:3300/files/uploads/demo/a.txt?X-Amz-Expires=60&X-Amz-Signature=${signature}&x-id=GetObject`
    expect(findTokens(JSON.stringify({ url }))).toEqual([{ kind: 'capability', start: 'a.txt…' }])
    expect(findTokens(`${signature} ${url}`).map(({ kind }) => kind)).toEqual(['capability', 'opaque'])
    const token = await new SignJWT({ sub: 'demo' }).setProtectedHeader({ alg: 'HS256' }).sign(randomBytes(32))
    expect(findTokens(`${url}&token=${token}`).map(({ kind }) => kind)).toEqual(['JWT', 'capability'])
  })

  it('never repeats the token', async () => {
    const token = randomBytes(32).toString('base64url')
    expect(JSON.stringify(findTokens(token))).not.toContain(token.slice(0, 7))
  })
})
