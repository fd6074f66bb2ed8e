import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { startScripted, type Scripted } from '../oauth-agent/scripted.ts'
import { publicOrigin, startProxy, type ProxyUnderTest } from '../oauth-proxy/proxy-under-test.ts'
import { exchange, rawRequest } from '../support/raw-client.ts'

let scripted: Scripted
let proxy: ProxyUnderTest
beforeEach(async () => {
  scripted = await startScripted()
  proxy = await startProxy({ sealer: scripted.agent.sealer })
})
afterEach(async () => {
  await proxy.close()
  await scripted.close()
})

describe('a token type in odd letters', () => {
  it.each(['bEARER', 'BEARER', 'bearer'])('[C-94] is taken, and the API gets the usual spelling: %s', async (type) => {
    scripted.server.tokenAnswer = { token_type: type }
    const { jar } = await scripted.loggedIn()
    const headers = ['Host: a', `Origin: ${publicOrigin}`, 'token-handler-version: 1']
    const cookie = `Cookie: ${jar.header('http://localhost/api/x')}`
    expect((await exchange(proxy.port, rawRequest('GET /api/x', [...headers, cookie]))).status).toBe(200)
    const token = scripted.server.issued.find((value) => value.startsWith('canary-access'))
    expect(proxy.upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${token}`])
  })
})
