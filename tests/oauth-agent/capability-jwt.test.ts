import { generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet, type JWTVerifyResult } from 'jose'
import type { CapabilitySigningOptions, JwtOptions } from '@token-handler/oauth-agent'
import { generateCapabilitySigning, jwtCapability } from './capability-options.ts'
import type { AgentAnswer, Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

describe('capabilities of the kind jwt', () => {
  let scripted: Scripted
  afterEach(() => scripted.close())

  async function start(
    change: Partial<JwtOptions> = {},
    capabilitySigning: CapabilitySigningOptions = generateCapabilitySigning(),
    claims: Readonly<Record<string, unknown>> = {},
  ): Promise<Browser> {
    const capabilities = [{ ...jwtCapability, ...change }]
    scripted = await startScripted({ options: { capabilities, capabilitySigning } })
    scripted.server.idToken = { claims }
    return scripted.loggedIn()
  }
  const keys = (): Promise<AgentAnswer> => scripted.agent.browser().get('jwks.json')
  async function verified({ json }: AgentAnswer): Promise<JWTVerifyResult> {
    const set = createLocalJWKSet((await keys()).json as unknown as JSONWebKeySet)
    return jwtVerify(String(json['token']), set, {
      issuer: 'https://api.example.test/oauth-agent',
      audience: 'https://realtime.example.test',
      typ: 'capability+jwt',
      currentDate: new Date(scripted.clock.now()),
    })
  }

  it('are verified with the published keys, and say what is configured and no more', async () => {
    const browser = await start(
      { includeClaims: ['org.tier', 'absent', 'sub'], includeScopes: ['profile', 'admin'] },
      undefined,
      {
        org: { tier: 3 },
        email: 'jane@example.test',
      },
    )
    const { payload } = await verified(await browser.post('capabilities/realtime'))
    const now = Math.floor(scripted.clock.now() / 1000)
    expect(payload).toEqual({
      iss: 'https://api.example.test/oauth-agent',
      aud: 'https://realtime.example.test',
      sub: 'subject-1',
      'org.tier': 3,
      scope: 'profile',
      iat: now,
      nbf: now,
      exp: now + 300,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    const again = await verified(await browser.post('capabilities/realtime'))
    expect(again.payload.jti).not.toBe(payload.jti)
  })

  it('name the user by a pseudonym of the audience where so configured', async () => {
    const browser = await start({ pairwiseSecret: 'a secret of at least 32 characters' })
    const { payload } = await verified(await browser.post('capabilities/realtime'))
    expect(payload.sub).toMatch(/^[\w-]{43}$/)
    const again = await verified(await browser.post('capabilities/realtime'))
    expect(again.payload.sub).toBe(payload.sub)
  })

  it('take no input', async () => {
    const browser = await start()
    expect((await browser.post('capabilities/realtime', { sub: 'somebody' })).status).toBe(400)
  })

  it('are signed with Ed25519 too', async () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const jwk = JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'key-1' })
    const browser = await start({}, generateCapabilitySigning({ privateKey: jwk, algorithm: 'EdDSA' }))
    const answer = await browser.post('capabilities/realtime')
    expect(decodeProtectedHeader(String(answer.json['token']))).toEqual({
      alg: 'EdDSA',
      kid: 'key-1',
      typ: 'capability+jwt',
    })
    await verified(answer)
  })

  it('[C-10] are verified through a rotation: other keys are published, public parts only, to anybody', async () => {
    const before = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const next = generateKeyPairSync('ed25519').publicKey
    const otherKeys = [
      JSON.stringify({ ...before.export({ format: 'jwk' }), kid: 'before' }),
      next.export({ type: 'spki', format: 'pem' }),
    ]
    await start({}, generateCapabilitySigning({ kid: 'now', otherKeys }))
    const response = await fetch(new URL('jwks.json', scripted.agent.url), {
      headers: { origin: 'https://else.example' },
    })
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    expect(response.headers.get('cache-control')).toBe('public, max-age=300')
    const { keys: published } = (await response.json()) as JSONWebKeySet
    expect(published.map(({ kid }) => kid)).toEqual(['now', 'before', expect.stringMatching(/^[\w-]{43}$/)])
    for (const key of published) expect(key).not.toHaveProperty('d')
  })
})
