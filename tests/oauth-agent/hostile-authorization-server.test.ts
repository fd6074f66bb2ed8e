import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { exportJWK, generateKeyPair } from 'jose'
import {
  ScriptedAuthorizationServer,
  json,
  type IdTokenChanges,
  type Script,
} from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { startAgent, type AgentAnswer } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

let scripted: Scripted
beforeEach(async () => {
  scripted = await startScripted({ authorizationServer: { timeoutSeconds: 1 } })
})
afterEach(() => scripted.close())

/** A login that is refused: no session, no trace of a secret, no tokens left alive; and the next honest one works. */
async function expectRefused(answer: AgentAnswer, status = 502): Promise<void> {
  expect(answer.status).toBe(status)
  expect(answer.setCookies.every((line) => line.startsWith('__Host-Http-th-login-'))).toBe(true)
  expect(scripted.leaks(answer)).toEqual([])
  await until('what was issued is revoked', () => !scripted.server.hasLiveGrant)
  Object.assign(scripted.server, { script: {}, metadata: {}, tokenAnswer: {}, idToken: {} })
  await scripted.loggedIn()
}

describe('ID tokens that are refused', () => {
  const now = Date.UTC(2030, 0, 1) / 1000
  type Claims = Record<string, unknown>
  it.each<[string, string, Claims | ((issuer: string) => Claims)]>([
    ['C-21', 'another issuer', { iss: 'https://evil.test' }],
    ['C-82', 'an issuer that begins like ours', (issuer) => ({ iss: `${issuer}1` })],
    ['B-ID-02', 'an issuer with a slash more', (issuer) => ({ iss: `${issuer}/` })],
    ['C-85', 'no issuer', { iss: undefined }],
    ['C-23', 'another audience', { aud: 'somebody-else' }],
    ['C-82', 'an audience that begins like us', { aud: 'scripted-client1' }],
    ['C-24', 'no audience', { aud: undefined }],
    ['C-24', 'an empty list of audiences', { aud: [] }],
    ['C-24', 'an audience that is an object', { aud: { 'scripted-client': true } }],
    ['C-83', 'a second audience', { aud: ['scripted-client', 'somebody-else'] }],
    ['C-83', 'a second audience, though azp is us', { aud: ['scripted-client', 'else'], azp: 'scripted-client' }],
    ['B-ID-02', 'a foreign azp', { azp: 'somebody-else' }],
    ['C-22', 'no subject', { sub: undefined }],
    ['B-ID-10', 'an empty subject', { sub: '' }],
    ['B-ID-10', 'a subject of 256 characters', { sub: 'a'.repeat(256) }],
    ['B-ID-10', 'a subject beyond ASCII', { sub: 'ü' }],
    ['B-ID-10', 'a subject with a line end', { sub: 'a\nb' }],
    ['B-ID-10', 'a subject that is a number', { sub: 1 }],
    ['C-32', 'another nonce', { nonce: 'another' }],
    ['C-89', 'no nonce', { nonce: undefined }],
    ['C-25', 'no iat', { iat: undefined }],
    ['C-25', 'an iat that is text', { iat: String(now) }],
    ['B-ID-08', 'an iat in ten years', { iat: now + 315_360_000 }],
    ['B-ID-08', 'an iat beyond the clock skew', { iat: now + 31 }],
    ['B-ID-08', 'an iat ten years ago', { iat: now - 315_360_000 }],
    ['C-86', 'no exp', { exp: undefined }],
    ['B-ID-07', 'an exp beyond the clock skew', { exp: now - 31 }],
    ['B-ID-07', 'an absurd exp', { exp: 1e15 }],
    ['F-MO-16', 'an exp beyond all reason', { exp: 1e300 }],
    ['B-ID-07', 'an exp that is text', { exp: String(now + 300) }],
    ['B-ID-09', 'an nbf in the future', { nbf: now + 31 }],
    ['B-ID-13', 'another at_hash', { at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ['B-ID-13', 'an at_hash that is a number', { at_hash: 1 }],
    ['C-38', 'an at_hash that is empty', { at_hash: '' }],
    ['B-ID-11', 'an auth_time that is text', { auth_time: 'yesterday' }],
  ])('[%s][F-CU-4][F-MO-13] with %s', async (_row, _what, claims) => {
    scripted.server.idToken = { claims: typeof claims === 'function' ? claims(scripted.server.issuer) : claims }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })

  it.each<[string, string, Record<string, unknown>]>([
    ['C-119', 'that are access tokens', { typ: 'at+jwt' }],
    ['B-ID-14', 'that are logout tokens', { typ: 'logout+jwt' }],
    ['B-ID-14', 'with a typ that is no text', { typ: 1 }],
    ['C-44', 'of an unknown key', { kid: 'unknown' }],
  ])('[%s] %s', async (_row, _what, header) => {
    scripted.server.idToken = { header }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })

  it.each(['nothing else', 'jwk', 'jku'])(
    '[B-ID-05][C-30][F-CU-4] with a signature of another key and %s',
    async (member) => {
      const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
      const named = { jwk: await exportJWK(publicKey), jku: 'https://evil.test/jwks' }
      scripted.server.idToken = { key: privateKey, header: member in named ? { [member]: named[member as 'jwk'] } : {} }
      const { answer } = await scripted.logIn(scripted.agent.browser())
      await expectRefused(answer)
    },
  )

  it('[B-ID-14] with a critical header that nobody knows', async () => {
    scripted.server.script.token = async ({ standard }) => tampered(await standard(), { crit: ['x'], x: 1 })
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })

  it.each(['none', 'None', 'NONE', 'nOnE', undefined])(
    '[B-ID-06][C-29][C-87][F-MO-18] with the algorithm %s, though the metadata offer it',
    async (alg) => {
      scripted.server.metadata = { id_token_signing_alg_values_supported: ['none', 'None', 'NONE', 'nOnE', 'ES256'] }
      scripted.server.script.token = async ({ standard }) => tampered(await standard(), { alg }, '')
      const { answer } = await scripted.logIn(scripted.agent.browser())
      await expectRefused(answer)
    },
  )

  it.each([
    ['the client secret', () => scripted.server.clientSecret],
    ['a public key', () => JSON.stringify(scripted.server.jwks.keys[0])],
  ])('[B-ID-06][C-31] signed with HS256 and %s, though the metadata offer it', async (_what, secretOf) => {
    scripted.server.metadata = { id_token_signing_alg_values_supported: ['HS256', 'ES256'] }
    scripted.server.idToken = { header: { alg: 'HS256' }, key: Buffer.from(secretOf()) }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })

  it('[C-88] signed by the right server with an algorithm that is not configured', async () => {
    const { kid, privateKey } = await scripted.server.addKey('ES384')
    scripted.server.metadata = { id_token_signing_alg_values_supported: ['ES256', 'ES384'] }
    scripted.server.idToken = { header: { alg: 'ES384', kid }, key: privateKey, claims: { at_hash: undefined } }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })
})

describe('ID tokens of somebody else', () => {
  it('[B-ST-10] with the nonce of another login of the same browser finish neither', async () => {
    const browser = scripted.agent.browser()
    const [first, second] = [await browser.post('login/start'), await browser.post('login/start')]
    const nonce = new URL(String(first.json['authorization_url'])).searchParams.get('nonce')
    expect(nonce).toMatch(/^[\w-]{43}$/)
    scripted.server.idToken = { claims: { nonce } }
    const callback = scripted.server.authorize(String(second.json['authorization_url']))
    await expectRefused(await browser.post('login/end', callback.searchParams))
    expect((await browser.get('session')).text).toBe('{"is_logged_in":false}')
  })

  it.each<[string, () => Promise<IdTokenChanges>]>([
    ['nonce', async () => ({ claims: { nonce: 'another' } })],
    ['signature', async () => ({ key: (await generateKeyPair('ES256')).privateKey })],
    ['subject', async () => ({ claims: { sub: undefined } })],
  ])(
    '[B-ST-11] leave their access token unused when the %s is wrong: it is revoked, and that is all',
    async (_what, changes) => {
      const userInfo = await ScriptedAuthorizationServer.start(scripted.clock)
      scripted.server.metadata = { userinfo_endpoint: `${userInfo.issuer}/token` }
      scripted.server.idToken = await changes()
      const { answer } = await scripted.logIn(scripted.agent.browser())
      expect(answer.status).toBe(502)
      await until('both tokens are revoked', () => scripted.server.count('revocation') === 2)
      const issued = scripted.server.issued.filter((value) => /^canary-(?:access|refresh)/.test(value))
      const seen = scripted.server.calls.filter(({ authorization = '', form }) =>
        issued.some((token) => authorization.includes(token) || String(form).includes(token)),
      )
      expect(seen.map(({ endpoint }) => endpoint)).toEqual(['revocation', 'revocation'])
      expect(userInfo.calls).toEqual([])
      await userInfo.close()
    },
  )
})

describe('ID tokens at the edge', () => {
  const now = Date.UTC(2030, 0, 1) / 1000
  it.each<[string, Record<string, unknown>]>([
    ['one audience in a list', { aud: ['scripted-client'] }],
    ['azp that is us', { azp: 'scripted-client' }],
    ['a subject of 255 characters', { sub: 'a'.repeat(255) }],
    ['an iat within the clock skew', { iat: now + 30 }],
    ['an exp within the clock skew', { exp: now - 29 }],
    ['no at_hash', { at_hash: undefined }],
    ['claims on the list only', { secret_group: 'x', __proto__: undefined }],
  ])('[B-ID-07][C-38][C-84] with %s are accepted', async (_what, claims) => {
    scripted.server.idToken = { claims }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    expect(answer.status).toBe(200)
    expect(answer.text).not.toContain('secret_group')
  })

  it('[C-26] without kid are accepted when one key fits', async () => {
    scripted.server.idToken = { header: { kid: undefined } }
    await scripted.loggedIn()
    expect(scripted.server.count('token')).toBe(1)
  })

  it.each([
    ['accepted when one of ten keys without one fits', ['secp256k1'], 200],
    ['refused when four of thirteen do', ['secp256k1', 'P-256'], 502],
  ] as const)('[C-27] without kid are %s, and neither takes long', async (_what, namedCurves, status) => {
    const makers = [
      ...namedCurves.map((namedCurve) => () => generateKeyPairSync('ec', { namedCurve })),
      () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
      () => generateKeyPairSync('ed25519'),
    ]
    const others = makers.flatMap((make) => [0, 1, 2].map(() => make().publicKey.export({ format: 'jwk' })))
    const own = scripted.server.jwks.keys.map((key) => ({ ...key, kid: undefined, alg: undefined }))
    scripted.server.script.jwks = () => json(200, { keys: [...others, ...own] })
    scripted.server.idToken = { header: { kid: undefined } }
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    const started = process.cpuUsage()
    expect((await browser.post('login/end', searchParams)).status).toBe(status)
    expect(process.cpuUsage(started).user).toBeLessThan(500_000)
    expect(scripted.server.count('jwks')).toBe(1)
  })

  it('[C-28] are accepted with RS256, where that is announced and configured', async () => {
    const { kid, privateKey } = await scripted.server.addKey('RS256')
    scripted.server.metadata = { id_token_signing_alg_values_supported: ['RS256'] }
    scripted.server.idToken = { header: { alg: 'RS256', kid }, key: privateKey }
    const browser = await scripted.loggedIn()
    expect((await browser.get('session')).json['is_logged_in']).toBe(true)
  })
})

describe('the clock of the authorization server', () => {
  /** Logs in while it is so many seconds off ours; its ID tokens live for two minutes. */
  async function logInWithClockAt(offsetSeconds: number): Promise<AgentAnswer> {
    const iat = Math.floor(scripted.clock.now() / 1000) + offsetSeconds
    scripted.server.idToken = { claims: { iat, exp: iat + 120, auth_time: iat } }
    return (await scripted.logIn(scripted.agent.browser())).answer
  }

  it.each([30, -30])('[C-120] may be %i seconds off', async (offset) => {
    expect((await logInWithClockAt(offset)).status).toBe(200)
  })

  it.each([300, -300, 86_400, -86_400])('[C-120] is no good when it is %i seconds off', async (offset) => {
    await expectRefused(await logInWithClockAt(offset))
  })

  it.each([0, 60])('[E-CK-03] may be off by the configured tolerance, and not by a second more: %i', async (skew) => {
    const tolerant = await startScripted({ authorizationServer: { clockSkewSeconds: skew } })
    /** What becomes of a login and of a logout token with this claim, so many seconds from now. */
    async function outcomesWith(claim: string, secondsFromNow: number): Promise<unknown> {
      tolerant.clock.advanceSeconds(1)
      const claims = { [claim]: Math.floor(tolerant.clock.now() / 1000) + secondsFromNow }
      tolerant.server.idToken = { claims }
      const { answer } = await tolerant.logIn(tolerant.agent.browser())
      const body = new URLSearchParams({ logout_token: await tolerant.server.makeLogoutToken({ claims }) })
      return [claim, answer.status, (await tolerant.agent.browser().post('backchannel-logout', body)).status]
    }
    for (const [claim, within, beyond] of [
      ['iat', skew, skew + 1],
      ['nbf', skew, skew + 1],
      ['exp', 1 - skew, -skew],
    ] as const) {
      expect(await outcomesWith(claim, within)).toEqual([claim, 200, 200])
      expect(await outcomesWith(claim, beyond)).toEqual([claim, 502, 400])
    }
    await tolerant.close()
  })
})

describe('signing keys', () => {
  it('[B-ID-16][C-43][C-44] may be rotated at any moment', async () => {
    for (let round = 0; round < 3; round++) {
      await scripted.loggedIn()
      await scripted.server.rotateKeys()
    }
    await scripted.loggedIn()
    expect(scripted.server.count('jwks')).toBe(4)
  })

  it('[B-ID-16] may be rotated by a server whose tokens name none', async () => {
    scripted.server.idToken = { header: { kid: undefined } }
    for (let round = 0; round < 3; round++) {
      const { answer } = await scripted.logIn(scripted.agent.browser())
      expect(answer.status).toBe(200)
      await scripted.server.rotateKeys()
      scripted.clock.advanceSeconds(10)
    }
  })

  it('[B-ID-16][F-MO-16] are not fetched for every made-up kid', async () => {
    await scripted.loggedIn()
    const before = scripted.server.count('jwks')
    scripted.server.idToken = { header: { kid: 'made-up' } }
    for (let round = 0; round < 20; round++) {
      scripted.server.idToken = { header: { kid: `made-up-${round}` } }
      expect((await scripted.logIn(scripted.agent.browser())).answer.status).toBe(502)
    }
    expect(scripted.server.count('jwks') - before).toBeLessThanOrEqual(3)
    scripted.server.idToken = {}
    await scripted.loggedIn()
  })

  it('[B-ID-15] that are no signing keys are not used', async () => {
    const { kid } = scripted.server.jwks.keys[0] ?? {}
    const decoys = [
      { kty: 'oct', kid, k: randomBytes(32).toString('base64url') },
      { kty: 'RSA', kid, n: 'AQAB', e: 'AQAB', use: 'sig' },
      { kty: 'EC', crv: 'P-256', kid, use: 'enc', x: 'AA', y: 'AA' },
      null,
      'key',
    ]
    scripted.server.script.jwks = () => json(200, { keys: [...decoys, ...scripted.server.jwks.keys] })
    await scripted.loggedIn()
    expect(scripted.server.count('jwks')).toBe(1)
  })

  it.each<[string, Script]>([
    ['are an error', () => ({ status: 500, body: '' })],
    ['are HTML', () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' })],
    ['are null', () => json(200, null)],
    ['are elsewhere', () => ({ status: 302, headers: { location: 'https://evil.test' }, body: '' })],
    [
      'are ten thousand',
      () => json(200, { keys: Array.from({ length: 10_000 }, () => ({ kty: 'EC', x: 'a'.repeat(40) })) }),
    ],
    ['never come', () => undefined],
  ])(
    '[C-111] that %s refuse the login',
    async (_what, script) => {
      scripted.server.script.jwks = script
      const { answer } = await scripted.logIn(scripted.agent.browser())
      await expectRefused(answer)
    },
    20_000,
  )

  it('that cannot be fetched later do not log anybody in or out', async () => {
    const browser = await scripted.loggedIn()
    scripted.server.script.jwks = () => ({ status: 500, body: '' })
    scripted.clock.advanceSeconds(600)
    expect((await browser.post('refresh')).status).toBe(200)
    await scripted.server.rotateKeys()
    expect((await browser.post('refresh')).status).toBe(200)
    expect((await scripted.logIn(scripted.agent.browser())).answer.status).toBe(502)
    scripted.server.idToken = { claims: { sub: 'somebody-else' } }
    expect((await browser.post('refresh')).status).toBe(401)
  })

  it('[C-44] that are published later than they sign log nobody out, and let nobody in', async () => {
    const browser = await scripted.loggedIn()
    const before = scripted.server.jwks
    scripted.server.script.jwks = () => json(200, before)
    await scripted.server.rotateKeys()
    const refreshes: number[] = []
    for (let round = 0; round < 6; round++) refreshes.push((await browser.post('refresh')).status)
    expect(refreshes).toEqual([200, 200, 200, 200, 200, 200])
    expect(scripted.agent.events()).toContain('signing_keys_unavailable')
    expect(scripted.server.count('jwks')).toBeLessThanOrEqual(4)
    expect((await scripted.logIn(scripted.agent.browser())).answer.status).toBe(502)
    scripted.server.script = {}
    scripted.clock.advanceSeconds(30)
    await scripted.loggedIn()
    scripted.server.idToken = { header: { kid: 'unpublished' }, claims: { sub: 'somebody-else' } }
    expect((await browser.post('refresh')).status).toBe(401)
  })
})

describe('token answers', () => {
  it.each<[string, string, Record<string, unknown>]>([
    ['B-ID-01', 'without an ID token', { id_token: undefined }],
    ['C-113', 'with an ID token that is a number', { id_token: 1 }],
    ['C-113', 'with an ID token that is no JWT', { id_token: 'a.b.c' }],
    ['B-ID-19', 'with an encrypted ID token', { id_token: 'a.b.c.d.e' }],
    ['C-113', 'without an access token', { access_token: undefined }],
    ['B-TK-08', 'with a line end in the access token', { access_token: 'a\r\nSet-Cookie: x=y' }],
    ['B-TK-08', 'with a space in the access token', { access_token: 'a b' }],
    ['B-TK-08', 'with an emoji in the access token', { access_token: 'a😀' }],
    ['C-113', 'with an access token that is a number', { access_token: 1 }],
    ['B-TK-06', 'of an unknown type', { token_type: 'mac' }],
    ['B-DP-03', 'of a type that was not asked for', { token_type: 'DPoP' }],
    ['C-113', 'without a type', { token_type: undefined }],
  ])('[%s] %s are refused', async (_row, _what, members) => {
    scripted.server.tokenAnswer = members
    const { answer } = await scripted.logIn(scripted.agent.browser())
    await expectRefused(answer)
  })

  it.each<[string, Record<string, unknown>]>([
    ['with the type in odd letters', { token_type: 'bEARER' }],
    ['without a refresh token', { refresh_token: undefined }],
    ['with an empty refresh token', { refresh_token: '' }],
    ['with a scope that is a number', { scope: 1 }],
    ['with a scope that is garbage', { scope: 'a\r\nb' }],
    ['with members that nobody asked for', { __proto__: 1, constructor: 1, deep: [[[[]]]] }],
  ])('[B-TK-06] %s are accepted', async (_what, members) => {
    scripted.server.tokenAnswer = members
    await scripted.loggedIn()
    expect(scripted.server.count('token')).toBe(1)
  })

  const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  it.each<[string, string, number, Script]>([
    ['C-113', 'that are an error with status 200', 502, () => json(200, { error: 'invalid_grant' })],
    [
      'B-TK-11',
      'that refuse the code',
      400,
      () => json(400, { error: 'invalid_grant', error_description: 'canary-x' }),
    ],
    ['B-TK-11', 'that refuse the client', 502, () => json(401, { error: 'invalid_client' })],
    ['B-TK-11', 'that refuse with a challenge', 502, challenge],
    ['C-113', 'of status 403', 502, () => ({ status: 403, body: 'no' })],
    ['C-113', 'of status 429', 502, () => ({ status: 429, headers: { 'retry-after': '1e99' }, body: '' })],
    ['C-113', 'of status 500', 502, () => ({ status: 500, body: '' })],
    ['C-113', 'of status 503', 502, () => json(503, { error: 'temporarily_unavailable' })],
    ['C-113', 'of HTML', 502, () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' })],
    ['C-113', 'of nothing', 502, () => ({ status: 204, body: '' })],
    ['C-113', 'of half JSON', 502, () => ({ ...json(200, {}), body: '{"access_token":"a' })],
    ['C-113', 'nested too deeply', 502, () => ({ ...json(200, {}), body: nested })],
    ['B-TK-05', 'of status 302', 502, redirect(302)],
    ['B-TK-05', 'of status 307', 502, redirect(307)],
    ['B-TK-05', 'of status 308', 502, redirect(308)],
    ['B-TK-09', 'that never come', 502, () => undefined],
    ['B-TK-09', 'that come one byte at a time', 502, drip],
    ['C-113', 'that break off', 502, ({ res }) => void res.destroy()],
    ['C-113', 'that break off in the middle', 502, breakOff],
  ])('[%s] %s are refused in time', async (_row, _what, status, script) => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    scripted.server.script.token = script
    const startedAt = performance.now()
    const answer = await browser.post('login/end', callback.searchParams)
    expect(performance.now() - startedAt).toBeLessThan(4000)
    expect(answer.text).not.toContain('canary')
    expect(scripted.server.count('token')).toBe(1)
    await expectRefused(answer, status)
  })

  it('[B-TK-09] of 200 MB are neither read nor kept', async () => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    let sent = 0
    scripted.server.script.token = async ({ res }) => {
      const chunk = Buffer.alloc(64 * 1024, 'a')
      res.writeHead(200, { 'content-type': 'application/json' })
      while (sent < 200 * 1024 * 1024 && !res.destroyed) {
        sent += chunk.length
        if (!res.write(chunk)) await drainedOrClosed(res)
      }
    }
    const answer = await browser.post('login/end', callback.searchParams)
    expect(sent).toBeLessThan(32 * 1024 * 1024)
    await expectRefused(answer)
  })

  it('[C-114] with a hundred kilobytes of access token are refused', async () => {
    scripted.server.tokenAnswer = { access_token: 'a'.repeat(100_000) }
    const { answer } = await scripted.logIn(scripted.agent.browser())
    expect(answer.json['error_code']).toBe('token_too_large')
    await expectRefused(answer)
  })
})

describe('redirects and compression', () => {
  /** Another server that answers whoever comes, and answers that lead there. */
  async function startElsewhere(
    status: number,
  ): Promise<{ elsewhere: ScriptedAuthorizationServer; away: (path: string) => Script }> {
    const elsewhere = await ScriptedAuthorizationServer.start(scripted.clock)
    elsewhere.trustsEverybody = true
    const away = (path: string) => () => ({ status, headers: { location: `${elsewhere.issuer}${path}` }, body: '' })
    return { elsewhere, away }
  }

  it.each([301, 302, 303, 307, 308])('[B-TK-05] with status %d are not followed from any endpoint', async (status) => {
    const { server, agent } = scripted
    const { elsewhere, away } = await startElsewhere(status)
    server.script.discovery = away('/.well-known/openid-configuration')
    expect((await agent.browser().post('login/start')).status).toBe(502)
    server.script = {}
    server.metadata = { pushed_authorization_request_endpoint: `${server.issuer}/par` }
    scripted.clock.advanceSeconds(1)
    expect((await agent.browser().post('login/start')).status).toBe(200)
    server.script = { par: away('/par') }
    expect((await agent.browser().post('login/start')).status).toBe(502)
    expect(elsewhere.calls).toEqual([])
    await elsewhere.close()
  })

  it.each([301, 302, 303, 307, 308])('[B-TK-05] with status %d lead no code, token or key away', async (status) => {
    const { server, agent } = scripted
    const { elsewhere, away } = await startElsewhere(status)
    server.script = { jwks: away('/jwks') }
    expect((await scripted.logIn(agent.browser())).answer.status).toBe(502)
    server.script = { token: away('/token') }
    expect((await scripted.logIn(agent.browser())).answer.status).toBe(502)
    server.script = {}
    const browser = await scripted.loggedIn()
    server.script = { token: away('/token'), revocation: away('/revoke') }
    expect((await browser.post('refresh')).status).toBe(200)
    const before = server.count('revocation')
    await browser.post('logout')
    await until('the revocation is asked for', () => server.count('revocation') > before)
    await agent.agent.close()
    expect(elsewhere.calls).toEqual([])
    await elsewhere.close()
  })

  const brotli = (body: Buffer): Buffer => brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })
  it.each<[string, string, number, (body: Buffer) => Buffer]>([
    ['a megabyte in a thousand bytes', 'gzip', 1024 * 1024, (body) => gzipSync(body)],
    ['a megabyte that is compressed twice', 'gzip, gzip', 1024 * 1024, (body) => gzipSync(gzipSync(body))],
    ['a megabyte in brotli', 'br', 1024 * 1024, brotli],
    ['compressed ten times', Array.from({ length: 10 }, () => 'gzip').join(', '), 0, tenTimes],
  ])('[D-LIM-12][F-RO-8] of token answers that are %s is not taken', async (_what, encoding, padding, compress) => {
    const browser = scripted.agent.browser()
    const callback = await scripted.callback(browser)
    scripted.server.script.token = async ({ res, standard }) => {
      const body = compress(Buffer.from((await standard()).body + ' '.repeat(padding)))
      res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding }).end(body)
    }
    expect((await browser.post('login/end', callback.searchParams)).status).toBe(502)
    scripted.server.script = {}
    await scripted.loggedIn()
  })
})

describe('metadata', () => {
  const foreignWithPush = (issuer: string): Record<string, unknown> => ({
    issuer: 'https://evil.test',
    pushed_authorization_request_endpoint: `${issuer}/par`,
  })
  it.each<[string, string, (issuer: string) => Record<string, unknown>]>([
    ['C-42', 'of another issuer', (issuer) => ({ issuer: `${issuer}INVALID` })],
    ['C-81', 'of another issuer that takes pushed requests', foreignWithPush],
    ['B-ISS-04', 'whose issuer has a slash more', (issuer) => ({ issuer: `${issuer}/` })],
    ['B-ISS-06', 'with a plain http endpoint elsewhere', () => ({ token_endpoint: 'http://as.example.test/token' })],
    ['B-ISS-06', 'with credentials in an endpoint', (issuer) => ({ token_endpoint: issuer.replace('//', '//u:p@') })],
    ['B-ISS-06', 'with a fragment in an endpoint', (issuer) => ({ jwks_uri: `${issuer}/jwks#x` })],
    ['B-ISS-06', 'with a link-local endpoint', () => ({ jwks_uri: 'https://169.254.169.254/latest' })],
    ['B-ISS-06', 'with an IPv6 endpoint', () => ({ token_endpoint: 'https://[fe80::1]/token' })],
    ['B-ISS-06', 'with a private endpoint', () => ({ revocation_endpoint: 'https://10.0.0.1/revoke' })],
    ['B-ISS-06', 'with another scheme', () => ({ end_session_endpoint: 'javascript:alert(1)' })],
    ['B-ISS-06', 'with an endpoint that is no URL', () => ({ authorization_endpoint: '/authorize' })],
    ['B-ISS-06', 'without a token endpoint', () => ({ token_endpoint: undefined })],
    ['C-111', 'without keys', () => ({ jwks_uri: undefined })],
  ])('[%s] %s are refused', async (_row, _what, members) => {
    scripted.server.metadata = members(scripted.server.issuer)
    const answer = await scripted.agent.browser().post('login/start')
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([
      502,
      'authorization_server_error',
      [],
    ])
    expect(scripted.agent.agent.ready()).toEqual({ ready: false, authorizationServer: 'unavailable' })
    expect(scripted.server.calls.every(({ endpoint }) => endpoint === 'discovery')).toBe(true)
  })

  it.each<[string, Script]>([
    ['a redirect', () => ({ status: 302, headers: { location: 'https://evil.test/' }, body: '' })],
    ['HTML', () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' })],
    ['half JSON', () => ({ ...json(200, {}), body: '{"issuer":' })],
    ['a megabyte', () => json(200, { issuer: 'a'.repeat(1024 * 1024) })],
  ])('[C-110] that are %s are refused', async (_what, script) => {
    scripted.server.script.discovery = script
    expect((await scripted.agent.browser().post('login/start')).status).toBe(502)
  })

  it('[B-ISS-07][C-110] cannot move an endpoint or drop a protection later; the last good ones stay in force', async () => {
    const evil = await ScriptedAuthorizationServer.start(scripted.clock)
    await scripted.loggedIn()
    scripted.server.metadata = { token_endpoint: `${evil.issuer}/token` }
    scripted.clock.advanceSeconds(3601)
    await scripted.agent.browser().post('login/start')
    await until('the move is noticed', () => scripted.agent.events().includes('discovery_failed'))
    expect(scripted.agent.log()).toContain('token_endpoint moved to another host')
    await scripted.loggedIn()
    expect(evil.calls).toEqual([])
    expect(scripted.agent.agent.ready()).toEqual({ ready: true, authorizationServer: 'unavailable' })

    scripted.server.metadata = { authorization_response_iss_parameter_supported: false }
    scripted.clock.advanceSeconds(3601)
    const browser = scripted.agent.browser()
    const { searchParams } = await scripted.callback(browser)
    await until('the change is seen', () => scripted.agent.agent.ready().authorizationServer === 'ok')
    searchParams.delete('iss')
    expect((await browser.post('login/end', searchParams)).json['error_code']).toBe('invalid_request')
    await evil.close()
  })

  it('[B-ISS-07][B-PR-04] that demanded pushed requests cannot do without them later, nor without revocation', async () => {
    const browser = await scripted.loggedIn()
    const startUntil = async (what: string, isSeen: (answer: AgentAnswer) => boolean): Promise<void> => {
      scripted.clock.advanceSeconds(3601)
      await until(what, async () => isSeen(await browser.post('login/start')))
    }
    scripted.server.metadata = {
      pushed_authorization_request_endpoint: `${scripted.server.issuer}/par`,
      require_pushed_authorization_requests: true,
    }
    await startUntil('requests are pushed', ({ text }) => text.includes('request_uri'))
    scripted.server.metadata = { revocation_endpoint: undefined }
    await startUntil('they cannot be any more', ({ text }) => !text.includes('request_uri'))
    const refused = await browser.post('login/start')
    expect([refused.status, refused.json['error_code'], refused.setCookies]).toEqual([
      502,
      'authorization_server_error',
      [],
    ])
    await browser.post('logout')
    await until('the refresh token is revoked', () => !scripted.server.hasLiveGrant)
  })

  it('[B-PR-04] that demand pushed requests and say not where start no login', async () => {
    scripted.server.metadata = { require_pushed_authorization_requests: true }
    const answer = await scripted.agent.browser().post('login/start')
    expect([answer.status, answer.json['error_code'], answer.setCookies]).toEqual([
      502,
      'authorization_server_error',
      [],
    ])
  })

  it.each<[string, (jwksUri: string) => string]>([
    ['a scheme in capitals', (jwksUri) => jwksUri.replace('http:', 'HTTP:')],
    ['a dot segment', (jwksUri) => jwksUri.replace('/jwks', '/./jwks')],
    ['a space around it', (jwksUri) => ` ${jwksUri}`],
  ])('may spell the address of the keys with %s: logins and refreshes verify with them', async (_what, spelt) => {
    scripted.server.metadata = { jwks_uri: spelt(`${scripted.server.issuer}/jwks`) }
    const browser = await scripted.loggedIn()
    expect((await browser.post('refresh')).status).toBe(200)
    expect(scripted.server.count('revocation')).toBe(0)
  })

  it('[C-41] may be anywhere below the issuer, and name any address for the keys', async () => {
    const { server } = scripted
    server.issuer = `${server.issuer}/${randomBytes(8).toString('hex')}`
    server.metadata = { jwks_uri: `${server.issuer}/jwks?run=${randomBytes(8).toString('hex')}` }
    const agent = await startAgent({
      issuer: server.issuer,
      clientId: server.clientId,
      clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
      clock: scripted.clock,
    })
    const browser = agent.browser()
    expect((await scripted.logIn(browser)).answer.status).toBe(200)
    expect([server.count('discovery'), server.count('jwks')]).toEqual([1, 1])
    await agent.close()
  })

  it('[B-ISS-05] come from the configured issuer alone, whatever a request says', async () => {
    const evil = await ScriptedAuthorizationServer.start(scripted.clock)
    evil.trustsEverybody = true
    const named = {
      issuer: evil.issuer,
      iss: evil.issuer,
      authorization_endpoint: `${evil.issuer}/authorize`,
      token_endpoint: `${evil.issuer}/token`,
      jwks_uri: `${evil.issuer}/jwks`,
    }
    const query = `?${String(new URLSearchParams(named))}`
    const browser = scripted.agent.browser()
    for (const [name, value] of Object.entries(named)) {
      const answer = await browser.post('login/start', { [name]: value })
      expect([name, answer.status, answer.setCookies]).toEqual([name, 400, []])
    }
    const started = await browser.post(`login/start${query}`)
    const url = new URL(String(started.json['authorization_url']))
    expect(url.origin).toBe(scripted.server.issuer)
    const response = scripted.server.authorize(url).searchParams
    const { iss: _iss, ...others } = named
    for (const [name, value] of Object.entries(others)) response.set(name, value)
    expect((await browser.post(`login/end${query}`, response)).status).toBe(200)
    expect((await browser.post(`refresh${query}`)).status).toBe(200)
    const { json: loggedOut } = await browser.post(`logout${query}`, named)
    expect(new URL(String(loggedOut['logout_url'])).origin).toBe(scripted.server.issuer)
    await until('the refresh token is revoked', () => !scripted.server.hasLiveGrant)
    expect(evil.calls).toEqual([])
    await evil.close()
  })

  it('[B-PK-01] that know only plain PKCE change nothing: the challenge is S256', async () => {
    scripted.server.metadata = { code_challenge_methods_supported: ['plain'] }
    const { json: body } = await scripted.agent.browser().post('login/start')
    expect(new URL(String(body['authorization_url'])).searchParams.get('code_challenge_method')).toBe('S256')
  })

  it('[C-39][D-SSRF-06] and tokens name URLs in vain: nothing is fetched but the endpoints', async () => {
    const evil = await ScriptedAuthorizationServer.start(scripted.clock)
    scripted.server.metadata = { userinfo_endpoint: `${evil.issuer}/token`, check_session_iframe: evil.issuer }
    const claims = { picture: evil.issuer, _claim_sources: { src: { endpoint: `${evil.issuer}/token` } } }
    scripted.server.idToken = { claims, header: { jku: `${evil.issuer}/jwks`, x5u: evil.issuer } }
    await scripted.logIn(scripted.agent.browser())
    expect(evil.calls).toEqual([])
    await evil.close()
  })
})

function tampered(
  answer: { readonly status: number; readonly body: string },
  header: Record<string, unknown>,
  signature?: string,
): ReturnType<typeof json> {
  const members = JSON.parse(answer.body) as { id_token: string }
  const [before = '', payload = '', signed = ''] = members.id_token.split('.')
  const changed = { ...(JSON.parse(Buffer.from(before, 'base64url').toString()) as object), ...header }
  const encoded = Buffer.from(JSON.stringify(changed)).toString('base64url')
  return json(200, { ...members, id_token: `${encoded}.${payload}.${signature ?? signed}` })
}

function challenge(): ReturnType<typeof json> {
  return {
    status: 401,
    headers: { 'www-authenticate': 'Basic realm="canary"', 'content-type': 'application/json' },
    body: '{}',
  }
}

function tenTimes(body: Buffer): Buffer {
  let compressed = body
  for (let round = 0; round < 10; round++) compressed = gzipSync(compressed)
  return compressed
}

function redirect(status: number): Script {
  return () => ({ status, headers: { location: 'http://127.0.0.1:1/token' }, body: '' })
}

async function drainedOrClosed(res: ServerResponse): Promise<void> {
  const done = new AbortController()
  await Promise.race([once(res, 'drain', { signal: done.signal }), once(res, 'close', { signal: done.signal })])
  done.abort()
}

function drip({ res }: { readonly res: ServerResponse }): void {
  res.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => res.write(' '), 50)
  res.once('close', () => clearInterval(timer))
}

function breakOff({ res }: { readonly res: ServerResponse }): void {
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  res.write('{"access_token":')
  setImmediate(() => res.destroy())
}
