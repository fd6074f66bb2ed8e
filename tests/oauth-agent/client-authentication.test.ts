import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt, exportJWK, exportPKCS8, generateKeyPair, jwtVerify } from 'jose'
import type { ClientAuthentication } from '@token-handler/oauth-agent'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { ScriptedAuthorizationServer } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import { startAgent, type RunningAgent } from './running-agent.ts'

let server: ScriptedAuthorizationServer
let clock: FakeClock
let agent: RunningAgent
beforeEach(async () => {
  clock = fakeClock()
  server = await ScriptedAuthorizationServer.start(clock)
})
afterEach(async () => {
  await agent.close()
  await server.close()
})

/** Logs in, refreshes and logs out: every kind of call that has to say who asks. */
async function useAll(clientAuthentication: ClientAuthentication): Promise<void> {
  agent = await startAgent({ issuer: server.issuer, clientId: server.clientId, clientAuthentication, clock })
  const browser = agent.browser()
  const started = await browser.post('login/start')
  const callback = server.authorize(String(started.json['authorization_url']))
  expect((await browser.post('login/end', callback.searchParams)).status).toBe(200)
  expect((await browser.post('refresh')).status).toBe(200)
  await browser.post('logout')
  await until('the refresh token is revoked', () => !server.hasLiveGrant)
}

const authenticated = (): ScriptedAuthorizationServer['calls'] =>
  server.calls.filter(({ endpoint }) => endpoint === 'token' || endpoint === 'revocation' || endpoint === 'par')

describe('the client', () => {
  it('[B-TK-04][C-36] sends credentials with odd characters as the RFC says', async () => {
    const clientSecret = 'a:b%c+d e ü&='
    Object.assign(server, { clientSecret })
    await useAll({ method: 'client_secret_basic', clientSecret })
    expect(authenticated()).toHaveLength(3)
  })

  it('[C-08] posts the secret where that is the registered method, and then sends no header', async () => {
    server.trustsEverybody = true
    await useAll({ method: 'client_secret_post', clientSecret: server.clientSecret })
    for (const { authorization, form } of authenticated()) {
      expect([authorization, form.get('client_secret')]).toEqual([undefined, server.clientSecret])
    }
  })

  it.each(['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'])(
    '[B-TK-02][B-TK-03][C-09][F-MO-12] signs a fresh assertion for every call with %s',
    async (algorithm) => {
      server.trustsEverybody = true
      server.metadata = { pushed_authorization_request_endpoint: `${server.issuer}/par` }
      const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
      server.script.par = async ({ form, standard }) => {
        const answer = await standard()
        pushed = form
        return answer
      }
      let pushed = new URLSearchParams()
      agent = await startAgent({
        issuer: server.issuer,
        clientId: server.clientId,
        clientAuthentication: {
          method: 'private_key_jwt',
          privateKey: await exportPKCS8(privateKey),
          algorithm,
          kid: 'k1',
        },
        clock,
      })
      const browser = agent.browser()
      const { json } = await browser.post('login/start')
      expect(new URL(String(json['authorization_url'])).searchParams.has('request_uri')).toBe(true)
      const request = new URL(`${server.issuer}/authorize?${pushed}`)
      const ended = await browser.post('login/end', server.authorize(request).searchParams)
      expect(ended.status).toBe(200)
      await browser.post('refresh')
      await browser.post('logout')
      await until('the refresh token is revoked', () => !server.hasLiveGrant)

      const ids = new Set<unknown>()
      for (const { authorization, form } of authenticated()) {
        expect([authorization, form.get('client_secret')]).toEqual([undefined, null])
        const assertion = form.get('client_assertion') ?? ''
        const { payload, protectedHeader } = await jwtVerify(assertion, publicKey, {
          currentDate: new Date(clock.now()),
        })
        expect(protectedHeader).toMatchObject({ alg: algorithm, kid: 'k1' })
        const { iss, sub, aud, iat = 0, exp = Infinity } = payload
        expect([iss, sub, aud]).toEqual([server.clientId, server.clientId, server.issuer])
        expect(Math.abs(iat - clock.now() / 1000)).toBeLessThanOrEqual(2)
        expect(exp - iat).toBeLessThanOrEqual(60)
        ids.add(payload.jti)
      }
      expect(ids.size).toBe(4)
    },
  )

  it('takes the key id from a JWK', async () => {
    server.trustsEverybody = true
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(privateKey)), kid: 'from-the-jwk' }
    await useAll({ method: 'private_key_jwt', privateKey: JSON.stringify(jwk), algorithm: 'ES256' })
    const assertion = authenticated()[0]?.form.get('client_assertion') ?? ''
    expect(decodeJwt(assertion).iss).toBe(server.clientId)
    expect(JSON.parse(Buffer.from(assertion.split('.', 1)[0] ?? '', 'base64url').toString())).toEqual({
      alg: 'ES256',
      kid: 'from-the-jwk',
    })
  })

  it('with a key that is none says so, and is not ready', async () => {
    const clientAuthentication = { method: 'private_key_jwt', privateKey: 'canary-key', algorithm: 'ES256' } as const
    agent = await startAgent({ issuer: server.issuer, clientId: server.clientId, clientAuthentication, clock })
    agent.agent.start()
    await until('the metadata are read', () => agent.agent.ready().authorizationServer === 'ok')
    expect(agent.agent.ready().ready).toBe(false)
    const answer = await agent.browser().post('login/start')
    expect([answer.status, answer.text]).toEqual([500, '{"error_code":"server_error"}'])
    expect(agent.events()).toContain('client_key_unusable')
    expect(agent.log()).not.toContain('canary')
  })
})
