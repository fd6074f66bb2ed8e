import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { answerText, startUpstream, type Upstream } from '../support/upstream.ts'
import { until } from '../support/until.ts'
import { callAt, install, logInAt, type Installation, type RunningCommand } from './installation.ts'

let site: Installation
let upstream: Upstream

beforeEach(async () => {
  upstream = await startUpstream()
  site = await install({ upstream: upstream.origin })
  site.configure('token-handler.yaml', {
    ledger: { type: 'memory' },
    admin: { port: 0 },
    shutdown_seconds: 20,
  })
}, 30_000)

afterEach(async () => {
  await site.close()
  await upstream.close()
})

async function refusesConnections({ url }: RunningCommand): Promise<boolean> {
  return fetch(url).then(
    () => false,
    () => true,
  )
}

describe('SIGTERM', () => {
  it('lets an API call end that is under way, takes no new one, and ends well', async () => {
    const running = await site.start()
    const jar = await logInAt(running.url)
    const answer = Promise.withResolvers<void>()
    upstream.script = {
      onRequest: (_request, socket) => {
        void answer.promise.then(() => socket.write(answerText('{"late":true}')))
        return undefined
      },
    }
    const call = callAt(running.url, '/api/other', jar)
    await until('the call at the API', () => upstream.requests.length === 1)
    running.kill('SIGTERM')
    await until('no new connections', () => refusesConnections(running))
    expect((await fetch(`${running.adminUrl}/livez`)).status).toBe(200)
    expect((await fetch(`${running.adminUrl}/readyz`)).status).toBe(503)
    answer.resolve()
    expect(await call).toMatchObject({ status: 200, json: { late: true } })
    const answeredAt = performance.now()
    expect((await running.ended).code).toBe(0)
    // Its connection is kept alive by the client for seconds, by gateways for minutes: nothing to wait for.
    expect(performance.now() - answeredAt).toBeLessThan(10_000)
    expect(running.log()).toContain('"event":"stopping"')
  }, 30_000)

  it('lets a refresh end that the authorization server is working on: its tokens are not lost', async () => {
    const running = await site.start()
    const jar = await logInAt(running.url)
    const release = site.relay.hold()
    const call = callAt(running.url, '/oauth-agent/refresh', jar, 'POST')
    const refreshes = (): number =>
      site.authorizationServer.requests.filter(({ parameters }) => parameters['grant_type'] === 'refresh_token').length
    await until('the refresh at the authorization server', () => refreshes() === 1)
    running.kill('SIGTERM')
    await until('no new connections', () => refusesConnections(running))
    release()
    const refreshed = await call
    expect(refreshed.status).toBe(200)
    expect(refreshed.setCookies.filter((line) => /-(?:at|rt)-/.test(line)).length).toBeGreaterThanOrEqual(2)
    expect((await running.ended).code).toBe(0)
    expect(refreshes()).toBe(1)
  }, 30_000)

  it('waits no longer than shutdown_seconds for an answer that does not come', async () => {
    site.configure('token-handler.yaml', { ledger: { type: 'memory' }, shutdown_seconds: 1 })
    const running = await site.start()
    const jar = await logInAt(running.url)
    upstream.script = { onRequest: () => undefined }
    const call = callAt(running.url, '/api/other', jar).then(
      () => 'answered',
      () => 'cut off',
    )
    await until('the call at the API', () => upstream.requests.length === 1)
    const stoppedAt = performance.now()
    running.kill('SIGTERM')
    expect((await running.ended).code).toBe(0)
    const seconds = (performance.now() - stoppedAt) / 1000
    expect(seconds).toBeGreaterThanOrEqual(0.9)
    expect(seconds).toBeLessThan(8)
    expect(await call).toBe('cut off')
  }, 30_000)
})

describe('readiness', () => {
  it('comes with the authorization server, and is not lost with it', async () => {
    const { target } = site.relay
    site.relay.target = undefined
    const running = await site.start()
    const ready = async (): Promise<unknown[]> => {
      const answer = await fetch(`${running.adminUrl}/readyz`)
      return [answer.status, (await answer.json()) as unknown]
    }
    await until('the first attempt', async () => JSON.stringify(await ready()).includes('"unavailable"'))
    expect(await ready()).toMatchObject([503, { ready: false, authorization_server: 'unavailable' }])
    expect((await fetch(`${running.adminUrl}/livez`)).status).toBe(200)
    site.relay.target = target
    await until('the authorization server', async () => (await ready())[0] === 200)
    expect(await ready()).toMatchObject([200, { ready: true, authorization_server: 'ok' }])
    const jar = await logInAt(running.url)
    // Sessions go on without it, so this instance is still the right one to ask.
    site.relay.target = undefined
    expect((await callAt(running.url, '/api/me', jar)).status).toBe(200)
    expect((await ready())[0]).toBe(200)
  }, 30_000)
})
