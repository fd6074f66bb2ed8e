import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { generateKeyFile, silentLogger } from '@token-handler/shared'
import { WebSocket } from 'ws'
import { startApplication } from '../../spa-example/embedded.ts'
import { startExampleApi, type ExampleApi } from '../../spa-example/api/server.ts'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { SessionBrowser } from '../support/session-browser.ts'

const audience = 'https://api.example.com'
/** What browsers see; the application listens on a port of its own, which cookies do not care about. */
const publicOrigin = 'http://localhost:3000'
const folder = mkdtempSync(join(tmpdir(), 'embedding-'))
let url: string
let authorizationServer: AuthorizationServer
let api: ExampleApi
let application: Awaited<ReturnType<typeof startApplication>>

beforeAll(async () => {
  authorizationServer = await startAuthorizationServer({
    clients: { redirectUris: [`${publicOrigin}/callback`] },
    apiAudience: audience,
  })
  const { issuer, clients } = authorizationServer
  api = await startExampleApi({ issuer, audience })
  const keyFile = join(folder, 'keys.json')
  writeFileSync(keyFile, JSON.stringify(generateKeyFile(new Date())), { mode: 0o600 })
  application = await startApplication({
    publicOrigin,
    issuer,
    ...clients.secret,
    scope: 'openid orders:read',
    keyFile,
    ledgerFile: join(folder, 'ledger.db'),
    api: api.url,
    port: 0,
    logger: silentLogger,
  })
  url = `http://localhost:${(application.server.address() as AddressInfo).port}`
})
afterAll(async () => {
  await application.close()
  await api.close()
  await authorizationServer.close()
  rmSync(folder, { recursive: true })
})

describe('spa-example/embedded.ts', () => {
  const browser = (): SessionBrowser => new SessionBrowser(publicOrigin, { backend: url })

  it('logs somebody in, calls the API as them, and refreshes', async () => {
    const somebody = browser()
    expect((await somebody.logIn()).status).toBe(200)
    expect((await somebody.call('GET', '/api/me')).json()).toMatchObject({ sub: 'demo' })
    expect((await somebody.call('POST', '/oauth-agent/refresh')).status).toBe(200)
    expect((await somebody.call('GET', '/api/orders')).status).toBe(200)
    expect(somebody.jar.refused).toEqual([])
  })

  it('opens a WebSocket, which ends with the session', async () => {
    const somebody = browser()
    await somebody.logIn()
    const cookie = somebody.jar.header(`${publicOrigin}/api/feed`)
    const headers = { host: new URL(publicOrigin).host, origin: publicOrigin, cookie }
    const socket = new WebSocket(`${url.replace('http', 'ws')}/api/feed`, { headers })
    const closed = once(socket, 'close')
    await once(socket, 'open')
    await somebody.call('POST', '/oauth-agent/logout')
    await closed
    expect((await somebody.call('GET', '/api/me')).json()).toMatchObject({ code: 'session_missing' })
  })

  it('leaves everything else to the application', async () => {
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ ready: true })
    expect((await fetch(`${url}/elsewhere`)).status).toBe(404)
  })
})
